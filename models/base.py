"""What every model is: fit, predict, save, load, the views it reads and the family it belongs to."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from features.dataset import Dataset, Sequences
from features.sequences.encoding import StateAtCutoff
from models.calibration import Calibration
from models.numerics import ordered_by_horizon

Family = Literal["recurrent", "hybrid", "neural", "conventional"]
View = Literal["aggregates", "sequences"]
Needs = Literal["history", "state", "aggregates"]
Range = tuple[float, float] | tuple[int, int] | list[Any]  # from, to (both included), or the values there are
OnEpoch = Callable[[int, dict[str, float]], None]
Alteration = Callable[[Dataset], Sequences]  # to a history of its own for each example, in their order


@dataclass(frozen=True)
class Predictions:
    """One column a horizon, in the dataset's order, `[examples, horizons]`. Purchases and spend are expected values
    within the horizon, never negative; None where a model has no such head. `survival` is that of `Model.survival`,
    `[examples, days]`, where such days were asked for and the model has a hazard.
    """

    churn_probability: NDArray[np.float64]
    expected_purchases: NDArray[np.float64] | None = None
    expected_spend: NDArray[np.float64] | None = None
    survival: NDArray[np.float64] | None = None


def total(spent: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What was spent together, by kind."""
    sums: Counter[str] = Counter()
    for kinds in spent:
        sums.update(kinds)
    return dict(sums)


def calibrated(calibration: Calibration, raw: Predictions, horizons: Sequence[int]) -> Predictions:
    """`raw` predictions under a map, consistent among the horizons, and with its factors."""
    purchases, spend = raw.expected_purchases, raw.expected_spend
    return Predictions(
        ordered_by_horizon(calibration.churn(raw.churn_probability), horizons),
        None if purchases is None else calibration.value("purchases", purchases),
        None if spend is None else calibration.value("spend", spend),
    )


class Stepper(Protocol):
    """Carries the states of many customers, `[customers, width]`, from event to event, and predicts from them."""

    width: int

    def trace(self) -> None:
        """Build the networks' functions ahead of the first call."""

    def start(self, customers: int) -> NDArray[np.float32]:
        """The states of customers without events."""

    def advance(self, states: NDArray[np.float32], sequences: Sequences, previous: Integers) -> NDArray[np.float32]:
        """The states after the events of `sequences`, whose history `i` is what customer `i` did since `states`; it may
        be empty. `previous` [customers] is the time of the last event read before, NEVER where there is none.
        """

    def predict(
        self, states: NDArray[np.float32], at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None
    ) -> Predictions:
        """Predictions for the customers of `states`, each at its own cutoff; `aggregates` where the model reads them.
        All have at least one event.
        """

    def survival(
        self,
        states: NDArray[np.float32],
        at_cutoff: StateAtCutoff,
        aggregates: pd.DataFrame | None,
        days: Integers,
    ) -> Floats | None:
        """As `Model.survival`, of the customers of `states`."""


class Model(ABC):
    """A recipe (class and parameters) that `fit` turns into an artefact. `parameters` holds every hyperparameter; those
    not given have the class's defaults. Parameters are JSON values. `fit` finds those of `found_by_fit` with
    validation, and a fit without it takes them over; the others make the recipe. `space` is where tuning searches.
    Where not `seeded`, the random state changes nothing. `family` and `views` are the class's; an instance whose
    parameters take something away, or bring something in, has its own.
    """

    family: ClassVar[Family]
    views: ClassVar[tuple[View, ...]]
    defaults: ClassVar[dict[str, Any]] = {}
    found_by_fit: ClassVar[tuple[str, ...]] = ()
    space: ClassVar[dict[str, Range]] = {}
    least_trials: ClassVar[int] = 0
    seeded: ClassVar[bool] = True

    def __init__(self, horizons: tuple[int, ...], random_state: int, **parameters: Any) -> None:
        if unknown := set(parameters) - set(self.defaults):
            raise ValueError(
                f"{type(self).__name__} has no parameters {sorted(unknown)}; it has {sorted(self.defaults)}"
            )
        self.horizons = horizons
        self.random_state = random_state
        self.parameters = {**self.defaults, **parameters}
        self.calibration: Calibration | None = None
        self.curves: dict[str, list[float]] = {}  # measure -> value an epoch or round; empty for models without such

    @property
    def needs(self) -> Needs:
        """What scoring must give: all events (`history`), the state that `stepper` carries, or `aggregates` and the
        times of the last few events.
        """
        return "history" if "sequences" in self.views else "aggregates"

    def stepper(self) -> Stepper | None:
        """What carries the state of a fitted model that `needs` one, else None. Imports Keras."""
        return None

    @property
    def spent(self) -> dict[str, int]:
        """What a fit took, by kind: `networks` and their `epochs`, or `trees`; empty where nothing is counted."""
        return {}

    def without_state(self) -> "Model | None":
        """The same recipe, not fitted, without recurrent state; None for a model with none or nothing without it."""
        return None

    def twin(self) -> "Model | None":
        """The same recipe, not fitted, with the memory taken out and all else kept: a feed-forward layer on the
        aggregates in the place of the recurrent one. None for a model without a memory.
        """
        return None

    def predict_reading(self, data: Dataset, sequences: Sequences) -> Predictions | None:
        """Predictions for `data` if the model reads `sequences` in place of the data's own, everything else known at
        the cutoff staying as it is. None for a model that does not read events in order.
        """
        return None

    def altered(self, alter: Alteration) -> "Model | None":
        """The same recipe, not fitted, which reads `alter(data)` in place of the histories of all data that it is given
        from then on, in training too; everything else known at the cutoff stays as it is. None for a model that does
        not read events in order.
        """
        return None

    @classmethod
    def recipe_of(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that make the recipe, with the defaults of those not given."""
        return {
            name: parameters.get(name, default)
            for name, default in cls.defaults.items()
            if name not in cls.found_by_fit
        }

    @classmethod
    def trials_of(cls, trials: int) -> int:
        """How many trials tuning makes of this model where each is given `trials`: as many, or `least_trials` where
        that is more; none where nothing is tuned, which is where one trial, the defaults, is all, or there is no space.
        """
        return max(trials, cls.least_trials) if trials > 1 and cls.space else 0

    @abstractmethod
    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """Learn from `train`; everything fitted (scalers, vocabularies too) sees `train` alone. `valid` decides when to
        stop, and its outcome goes into `parameters` (so that fitting the same recipe again with `valid=None` trains for
        as long). `on_epoch(epoch, measures)` is called as training goes on.
        """

    def predict(self, data: Dataset) -> Predictions:
        """Predictions for every example of `data`, whose labels are not read; calibrated if `calibration` is there."""
        return self.calibrated(self._predict(data))

    def calibrated(self, raw: Predictions) -> Predictions:
        """`raw` predictions, calibrated where `calibration` is there."""
        return raw if self.calibration is None else calibrated(self.calibration, raw, self.horizons)

    @abstractmethod
    def _predict(self, data: Dataset) -> Predictions:
        """Raw predictions, before calibration."""

    def survival(self, data: Dataset, days: Integers) -> Floats | None:
        """[examples, days]: how likely each example's customer is to have no event before each of `days` from the
        cutoff, by the model's hazard and before calibration. None for a model without one, and where churn is something
        else.
        """
        return None

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame | None:
        """`[examples, inputs]`: by how much each input moves the churn logit of each example, from that of a typical
        customer of `baseline`, at the horizon of that index, before calibration; a column's name is that of the
        aggregate or channel, and may come twice. None where the model has no method of its own. Every history of `data`
        has one example.
        """
        return None

    def save(self, folder: Path) -> None:
        """Write all that `load` needs into the existing, empty `folder`. Nothing is pickled."""
        content = {
            "horizons": self.horizons,
            "seed": self.random_state,
            "parameters": self.parameters,
            "curves": self.curves,
            "calibration": asdict(self.calibration) if self.calibration else None,
            **self._save(folder),
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote."""
        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls(tuple(content["horizons"]), content["seed"], **content["parameters"])
        model.curves = content["curves"]
        model.calibration = Calibration(**content["calibration"]) if content.get("calibration") else None
        model._load(folder, content)
        return model

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """What was fitted, as JSON values; arrays go into files in `folder`."""

    @abstractmethod
    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        """The inverse of `_save`; `content` holds its JSON values."""
