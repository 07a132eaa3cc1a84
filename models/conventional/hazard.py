"""The survival target for models without memory: a hazard over the time from the cutoff to the next event, learnt from
person-periods. What a survival network owes to its target, and not to its memory, these models have too.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from features.arrays import Floats, Integers
from features.dataset import Dataset
from models.base import Family, Model, OnEpoch, Predictions, View
from models.conventional.person_periods import Periods
from models.labels import held_out_labels, observed_labels
from models.numerics import logit, ordered_by_horizon, sigmoid
from models.survival import LEAST

FOLDER = "periods"  # of the artefact, where that of the model of periods lies
EXAMPLES_AT_ONCE = 50_000
STEPS = 32  # of the integral that shares out a logit among inputs


class HazardModel(Model):
    """Churn within a horizon is silence in each of its periods: `P(churn) = product of (1 - hazard)`. `of_periods`,
    a model of the same parameters, gives `1 - hazard` of a person-period; it is stopped and chosen by the
    intercept-adjusted log loss of the periods, whose sum is the survival likelihood. The gaps and their censoring are
    those of survival networks (`features.sequences.gaps`). It expects no purchases and no spend.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)

    @classmethod
    @abstractmethod
    def kind(cls) -> type[Model]:
        """The class of `of_periods`."""

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        observed_labels(train.labels)
        self.periods = Periods.of(train)
        held_out = None
        if valid is not None and held_out_labels(valid.labels):
            held_out = self.periods.learnt_from(valid)
        self.of_periods = self.kind()((1,), self.random_state, **self.parameters)
        self.of_periods.fit(self.periods.learnt_from(train), held_out if held_out else None, on_epoch)
        self.parameters |= {name: self.of_periods.parameters[name] for name in self.found_by_fit}
        self.curves = self.of_periods.curves

    def _predict(self, data: Dataset) -> Predictions:
        parts = [np.zeros((0, len(self.horizons)))]
        for begin in range(0, len(data), EXAMPLES_AT_ONCE):
            part = data.select(np.arange(begin, min(begin + EXAMPLES_AT_ONCE, len(data))))
            parts.append(self.periods.churn(self._silent(part)))
        return Predictions(ordered_by_horizon(np.concatenate(parts), self.horizons))

    def _silent(self, data: Dataset) -> Floats:
        """[examples, periods]: the probability of no event in a period, given none before."""
        return self.of_periods.predict(self.periods.rows(data)).churn_probability.reshape(len(data), -1)

    def survival(self, data: Dataset, days: Integers) -> Floats | None:
        if not self.periods.chained:
            return None
        ends, curves = np.array([0, *self.periods.ends]), [np.zeros((0, len(days)))]
        for begin in range(0, len(data), EXAMPLES_AT_ONCE):
            part = data.select(np.arange(begin, min(begin + EXAMPLES_AT_ONCE, len(data))))
            hazard = np.cumsum(-np.log(np.maximum(self._silent(part), LEAST)), axis=1)
            after = np.searchsorted(ends, days)  # the period's end at or after each day
            share = (days - ends[after - 1]) / (ends[after] - ends[after - 1])
            hazard = np.hstack([np.zeros((len(part), 1)), hazard])
            curves.append(np.exp(-(hazard[:, after - 1] * (1 - share) + hazard[:, after] * share)))
        return np.concatenate(curves)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame | None:
        """Those to the logit of each period, weighted by how much the churn logit gives way to it on the straight way
        from the typical customer to this one (integrated gradients over the periods), so that they add up.
        """
        columns = self.of_periods.contributions(self.periods.rows(data), self.periods.rows(baseline), 0)
        if columns is None:
            return None
        periods = self.periods.until(self.horizons[horizon_index])
        moved = columns.to_numpy().reshape(len(data), len(self.periods), -1)[:, periods]
        actual = logit(self._silent(data))[:, periods]
        typical = actual - moved.sum(axis=2)
        weights = np.zeros_like(actual)
        for step in (np.arange(STEPS) + 0.5) / STEPS:
            silent = sigmoid(typical + step * (actual - typical))
            # d logit(C) / d logit_j of C = the product of the silent_j
            ended = np.maximum(-np.expm1(np.log(silent).sum(axis=1, keepdims=True)), 1e-300)
            weights += (1 - silent) / ended / STEPS
        return pd.DataFrame((moved * weights[:, :, None]).sum(axis=1), columns=columns.columns)

    def _save(self, folder: Path) -> dict[str, Any]:
        (folder / FOLDER).mkdir()
        self.of_periods.save(folder / FOLDER)
        return {"begins": self.periods.begins, "ends": self.periods.ends, "chained": self.periods.chained}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self.periods = Periods(self.horizons, content["begins"], content["ends"], content["chained"])
        self.of_periods = self.kind().load(folder / FOLDER)
