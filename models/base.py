"""What every model is: fit, predict, save, load, the views it reads and the family it belongs to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dataset import Dataset, Floats, Integers, Labels, Sequences
from features.sequences.encoding import Standing
from models.calibration import Calibration, Kind, factor_helps
from models.numerics import held_out_labels, ordered_by_horizon

Family = Literal["recurrent", "hybrid", "neural", "conventional"]
View = Literal["aggregates", "sequences"]
Needs = Literal["history", "state", "aggregates"]
Range = tuple[float, float] | tuple[int, int] | list[Any]  # from, to (both included), or the values there are
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Predictions:
    """One column a horizon, in the dataset's order, `[examples, horizons]`. Purchases and spend are expected values
    within the horizon, never negative; None where a model has no such head.
    """

    churn_probability: NDArray[np.float64]
    expected_purchases: NDArray[np.float64] | None = None
    expected_spend: NDArray[np.float64] | None = None


class Stepper(Protocol):
    """Carries the hidden states of many customers, `[customers, width]`, from event to event and asks them."""

    width: int

    def trace(self) -> None:
        """Build the networks' functions ahead of the first call."""

    def start(self, customers: int) -> NDArray[np.float32]:
        """The states of customers without events."""

    def advance(self, states: NDArray[np.float32], sequences: Sequences, previous: Integers) -> NDArray[np.float32]:
        """The states after the events of `sequences`, whose history `i` is what customer `i` did since `states`; it may
        be empty. `previous` [customers] is the time of the last event read before, NEVER where there is none.
        """

    def predict(self, states: NDArray[np.float32], standing: Standing, aggregates: pd.DataFrame | None) -> Predictions:
        """Predictions for the customers of `states`, each at its own cutoff; `aggregates` where the model reads them.
        All have at least one event.
        """


class Model(ABC):
    """A recipe (class and parameters) that `fit` turns into an artefact. `parameters` holds every hyperparameter; those
    not given have the class's defaults. Parameters are JSON values. Those of `found` are what `fit` finds with
    validation and a fit without it takes over; the others make the recipe. `space` is where tuning looks. Where not
    `seeded`, the seed changes nothing.
    """

    family: ClassVar[Family]
    views: ClassVar[tuple[View, ...]]
    defaults: ClassVar[dict[str, Any]] = {}
    found: ClassVar[tuple[str, ...]] = ()
    space: ClassVar[dict[str, Range]] = {}
    seeded: ClassVar[bool] = True

    def __init__(self, horizons: tuple[int, ...], seed: int, **parameters: Any) -> None:
        if unknown := set(parameters) - set(self.defaults):
            raise ValueError(
                f"{type(self).__name__} has no parameters {sorted(unknown)}; it has {sorted(self.defaults)}"
            )
        self.horizons = horizons
        self.seed = seed
        self.parameters = {**self.defaults, **parameters}
        self.calibration: Calibration | None = None
        self.curves: dict[str, list[float]] = {}  # measure -> value an epoch or round, for those that have such

    @property
    def needs(self) -> Needs:
        """What scoring must give: all events (`history`), the state that `stepper` carries, or `aggregates` and the
        times of the last few events.
        """
        return "history" if "sequences" in self.views else "aggregates"

    def stepper(self) -> Stepper | None:
        """What carries the state of a fitted model that `needs` one, else None. Imports Keras."""
        return None

    def without_state(self) -> "Model | None":
        """The same recipe, not fitted, with the recurrent state taken away; None for a model that is nothing without
        it or has none.
        """
        return None

    def predict_reading(self, data: Dataset, sequences: Sequences) -> Predictions | None:
        """Predictions for `data` if the model reads `sequences` in place of the data's own, everything else known at
        the cutoff staying as it is. None for a model that does not read events in order.
        """
        return None

    @classmethod
    def recipe_of(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Of all parameters those that make the recipe, with the defaults of those not given."""
        return {name: parameters.get(name, default) for name, default in cls.defaults.items() if name not in cls.found}

    @abstractmethod
    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """Learn from `train`; everything fitted (scalers, vocabularies too) sees `train` alone. `valid` decides when to
        stop, and its outcome goes into `parameters` (so that fitting the same recipe again with `valid=None` trains for
        as long). `on_epoch(epoch, measures)` is told of progress.
        """

    def predict(self, data: Dataset) -> Predictions:
        """Predictions for every example of `data`, whose labels are not looked at; calibrated where `calibration` is
        there.
        """
        return self.calibrated(self._predict(data))

    def calibrated(self, said: Predictions) -> Predictions:
        """What the model itself `said`, calibrated where `calibration` is there."""
        if self.calibration is None:
            return said
        purchases, spend = said.expected_purchases, said.expected_spend
        return Predictions(
            ordered_by_horizon(self.calibration.churn(said.churn_probability), self.horizons),
            None if purchases is None else self.calibration.value("purchases", purchases),
            None if spend is None else self.calibration.value("spend", spend),
        )

    def calibrate(self, kind: Kind | None, data: Dataset, before: Dataset | None = None) -> None:
        """Fit the calibration on the labels of `data`, a slice that neither taught the model nor stopped it. Without a
        `kind` it is the one that, fitted on the slice `before`, would have helped most on `data`; likewise the factors
        of purchases and spend are only taken where one fitted before would have helped.
        """
        labels, churn, values = self._held_against(data)
        if kind is None and before is not None and len(before):
            earlier, earlier_churn, earlier_values = self._held_against(before)
            kind = Calibration.choose((earlier.churn, earlier_churn), (labels.churn, churn))
            values = {name: each for name, each in values.items() if factor_helps(earlier_values[name], each)}
        self.calibration = Calibration.fit(kind or "platt", labels.churn, churn, values)

    def _held_against(self, data: Dataset) -> tuple[Labels, Floats, dict[str, tuple[Floats, Floats]]]:
        """The labels of `data`, the churn that the model itself says, and by outcome what came and what it expected."""
        labels, said = held_out_labels(data.labels), self._predict(data)
        expected = {"purchases": said.expected_purchases, "spend": said.expected_spend}
        values = {name: (getattr(labels, name), each) for name, each in expected.items() if each is not None}
        return labels, said.churn_probability, values

    @abstractmethod
    def _predict(self, data: Dataset) -> Predictions:
        """What the model itself says, before calibration."""

    def contributions(self, data: Dataset, ordinary: Dataset, horizon_index: int) -> pd.DataFrame | None:
        """`[examples, inputs]`: by how much each input moves the churn logit of each example, from that of a customer
        as `ordinary` knows them, at the horizon of that index, before calibration; a column's name is that of the
        aggregate or channel, and may come twice. None where the model has no way of its own. Every history of `data`
        has one example.
        """
        return None

    def facts(self) -> dict[str, Any]:
        """What every model saves of itself, in JSON values: horizons, seed, parameters, curves, calibration."""
        return {
            "horizons": self.horizons,
            "seed": self.seed,
            "parameters": self.parameters,
            "curves": self.curves,
            "calibration": self.calibration.to_json() if self.calibration else None,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The unfitted model of which `facts` told, with curves and calibration; other keys are left to `load`."""
        model = cls(tuple(facts["horizons"]), facts["seed"], **facts["parameters"])
        model.curves = facts["curves"]
        model.calibration = Calibration.from_json(facts["calibration"]) if facts.get("calibration") else None
        return model

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that `load` needs into the existing, empty `folder`. Nothing is pickled."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote."""
