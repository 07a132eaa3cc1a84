"""The recency rule: the longer ago the last event, the higher the risk. The least that any other model must beat."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from features.time import MICROSECONDS_A_DAY
from models.base import Family, Model, Needs, OnEpoch, Predictions, View
from models.labels import observed_labels, observed_values
from models.numerics import ordered_by_horizon


class Recency(Model):
    """Each outcome as a monotone function of the whole days since the last event: the isotonic regression, rising for
    churn and falling for purchases and spend, of the training examples' means a day. Each day counts one example more
    than it has, of the overall mean, so that no probability is 0 or 1. Linear between days, constant beyond them.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("sequences",)
    seeded: ClassVar[bool] = False

    @property
    def needs(self) -> Needs:
        return "aggregates"

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels, days = observed_labels(train.labels), days_since_last_event(train)
        self.curves_by_day = {
            outcome: [_monotone(days, values, rising=outcome == "churn") for values in getattr(labels, outcome).T]
            for outcome in ("churn", *observed_values(labels))
        }

    def _predict(self, data: Dataset) -> Predictions:
        days = days_since_last_event(data)
        read = {
            outcome: np.column_stack([np.interp(days, at, means) for at, means in curves])
            for outcome, curves in self.curves_by_day.items()
        }
        churn = ordered_by_horizon(read.pop("churn"), self.horizons)
        return Predictions(churn, **{f"expected_{outcome}": np.maximum(mean, 0) for outcome, mean in read.items()})

    def _save(self, folder: Path) -> dict[str, Any]:
        return {"days": self.curves_by_day}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self.curves_by_day = content["days"]


def days_since_last_event(data: Dataset) -> Floats:
    """[examples]: whole days since the last activity, where the question tells it from other events."""
    if "days_since_activity" in data.aggregates:
        return np.asarray(np.floor(data.aggregates["days_since_activity"].to_numpy(np.float64)))
    recency = data.cutoff - data.sequences.event_time[data.sequences.last_step]
    return (recency // MICROSECONDS_A_DAY).astype(np.float64)


def _monotone(days: Floats, values: Floats, rising: bool) -> tuple[list[float], list[float]]:
    """The days that occur, ascending, and the isotonic mean of the observed values at each."""
    from sklearn.isotonic import IsotonicRegression

    observed = np.isfinite(values)
    distinct, position = np.unique(days[observed], return_inverse=True)
    count = np.bincount(position) + 1
    means = (np.bincount(position, values[observed]) + values[observed].mean()) / count
    fitted = IsotonicRegression(increasing=rising).fit(distinct, means, sample_weight=count).predict(distinct)
    return distinct.tolist(), fitted.tolist()
