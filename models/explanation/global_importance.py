"""Global importance: what moves risk over all customers, and how risk changes with the time since the last event."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from features.arrays import Floats
from models.explanation.feature_groups import in_words

RECENCY = (0, 1, 3, 7, 14, 28, 56, 91)  # days since the last event at which bins `[from, next)` begin


@dataclass(frozen=True)
class GroupImportance:
    """A feature group: how far it moves a customer's churn logit, on average in either direction (`weight`), and for
    which share of customers it raises it.
    """

    input: str
    words: str
    weight: float
    raises: float


@dataclass(frozen=True)
class RecencyBin:
    """Customers whose last event was `from_days` to `to_days` before the cutoff (None: longer): how many, their mean
    churn probability, and the share who then churned.
    """

    from_days: int
    to_days: int | None
    customers: int
    predicted: float
    happened: float


def importance_of_groups(contributions: pd.DataFrame) -> list[GroupImportance]:
    """Of the groups of `contributions [examples, groups]`, the weightiest first."""
    groups = [
        GroupImportance(name, in_words(name), float(values.abs().mean()), float((values > 0).mean()))
        for name, values in contributions.items()
    ]
    return sorted(groups, key=lambda group: (-group.weight, group.input))


def by_recency(days: Floats, predicted: Floats, churned: Floats) -> list[RecencyBin]:
    """Bins of `days` since the last event, those that hold customers; `churned` is 0 or 1. All `[examples]`."""
    bins = []
    for start, end in zip(RECENCY, [*RECENCY[1:], None], strict=True):
        inside = (days >= start) & (days < (np.inf if end is None else end))
        if inside.any():
            means = float(predicted[inside].mean()), float(churned[inside].mean())
            bins.append(RecencyBin(start, end, int(inside.sum()), *means))
    return bins


def to_json(groups: list[GroupImportance], bins: list[RecencyBin]) -> dict[str, Any]:
    return {"drivers": [asdict(group) for group in groups], "by_silence": [asdict(each) for each in bins]}


def figure(groups: list[GroupImportance], bins: list[RecencyBin]) -> Figure:
    """Both as one picture."""
    picture = Figure(figsize=(11.0, 5.0), layout="constrained")
    left, right = picture.subplots(1, 2)
    shown = groups[:12][::-1]
    left.barh([group.words for group in shown], [group.weight for group in shown], color="#173f5f")
    left.set(title="What moves risk", xlabel="mean change of the churn logit, either way")
    x = np.arange(len(bins))
    right.plot(x, [each.predicted for each in bins], marker="o", label="predicted", color="#8a5300")
    right.plot(x, [each.happened for each in bins], marker="s", label="happened", color="#b3261e")
    labels = [f"{each.from_days}+" if each.to_days is None else f"{each.from_days}-{each.to_days}" for each in bins]
    right.set_xticks(x, labels)
    right.set(
        title="Risk by time since the last event", xlabel="days since the last event", ylabel="churn", ylim=(0, 1)
    )
    right.legend()
    return picture
