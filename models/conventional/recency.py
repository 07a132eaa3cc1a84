"""The recency rule: the longer the silence, the higher the risk. The least that any other model has to beat."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from features.dataset import MICROSECONDS_A_DAY, Dataset, Floats
from models.base import Family, Model, Needs, OnEpoch, Predictions, View
from models.numerics import observed_labels, ordered_by_horizon

OUTCOMES = ("churn", "purchases", "spend")


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
            for outcome in OUTCOMES
        }

    def _predict(self, data: Dataset) -> Predictions:
        days = days_since_last_event(data)
        churn, purchases, spend = (
            np.column_stack([np.interp(days, known, means) for known, means in self.curves_by_day[outcome]])
            for outcome in OUTCOMES
        )
        return Predictions(ordered_by_horizon(churn, self.horizons), np.maximum(purchases, 0), np.maximum(spend, 0))

    def save(self, folder: Path) -> None:
        content = {
            **self.facts(),
            "days": self.curves_by_day,
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content: dict[str, Any] = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls.from_facts(content)
        model.curves_by_day = content["days"]
        return model


def days_since_last_event(data: Dataset) -> Floats:
    """[examples]: whole days since the last activity, where the question tells it from other events."""
    if "days_since_activity" in data.aggregates:
        return np.asarray(np.floor(data.aggregates["days_since_activity"].to_numpy(np.float64)))
    silence = data.cutoff - data.sequences.event_time[data.sequences.last_step]
    return (silence // MICROSECONDS_A_DAY).astype(np.float64)


def _monotone(days: Floats, values: Floats, rising: bool) -> tuple[list[float], list[float]]:
    """The days that occur, ascending, and the isotonic mean of the observed values at each."""
    from sklearn.isotonic import IsotonicRegression

    observed = np.isfinite(values)
    known, place = np.unique(days[observed], return_inverse=True)
    count = np.bincount(place) + 1
    means = (np.bincount(place, values[observed]) + values[observed].mean()) / count
    fitted = IsotonicRegression(increasing=rising).fit(known, means, sample_weight=count).predict(known)
    return known.tolist(), fitted.tolist()
