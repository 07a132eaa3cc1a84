"""What moves risk over all customers, and how risk changes with the time since the last event."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from features.dataset import Floats
from models.explanation.feature_groups import in_words

SILENCE = (0, 1, 3, 7, 14, 28, 56, 91)
"""Days since the last event at which the stretches of `by_silence` begin; a stretch is `[from, next)`."""


@dataclass(frozen=True)
class Driver:
    """A group of inputs: how far it moves a customer's churn logit, on average in either direction (`weight`), and for
    which share of customers it raises it.
    """

    input: str
    words: str
    weight: float
    raises: float


@dataclass(frozen=True)
class Stretch:
    """Customers whose last event was `from_days` to `to_days` before the cutoff (None: longer): how many, their mean
    churn probability, and the share who then churned.
    """

    from_days: int
    to_days: int | None
    customers: int
    predicted: float
    happened: float


def drivers(contributions: pd.DataFrame) -> list[Driver]:
    """The groups of `contributions [examples, groups]`, the weightiest first."""
    found = [
        Driver(name, in_words(name), float(values.abs().mean()), float((values > 0).mean()))
        for name, values in contributions.items()
    ]
    return sorted(found, key=lambda one: (-one.weight, one.input))


def by_silence(days: Floats, predicted: Floats, churned: Floats) -> list[Stretch]:
    """By stretches of `days` since the last event, those that hold customers; `churned` is 0 or 1. All `[examples]`."""
    found = []
    for start, end in zip(SILENCE, [*SILENCE[1:], None], strict=True):
        inside = (days >= start) & (days < (np.inf if end is None else end))
        if inside.any():
            means = float(predicted[inside].mean()), float(churned[inside].mean())
            found.append(Stretch(start, end, int(inside.sum()), *means))
    return found


def to_json(driven: list[Driver], stretches: list[Stretch]) -> dict[str, Any]:
    return {"drivers": [asdict(one) for one in driven], "by_silence": [asdict(one) for one in stretches]}


def figure(driven: list[Driver], stretches: list[Stretch]) -> Figure:
    """Both as one picture."""
    made = Figure(figsize=(11.0, 5.0), layout="constrained")
    left, right = made.subplots(1, 2)
    shown = driven[:12][::-1]
    left.barh([one.words for one in shown], [one.weight for one in shown], color="#173f5f")
    left.set(title="What moves risk", xlabel="mean change of the churn logit, either way")
    places = np.arange(len(stretches))
    right.plot(places, [one.predicted for one in stretches], marker="o", label="predicted", color="#8a5300")
    right.plot(places, [one.happened for one in stretches], marker="s", label="happened", color="#b3261e")
    labels = [f"{one.from_days}+" if one.to_days is None else f"{one.from_days}-{one.to_days}" for one in stretches]
    right.set_xticks(places, labels)
    right.set(
        title="Risk by time since the last event", xlabel="days since the last event", ylabel="churn", ylim=(0, 1)
    )
    right.legend()
    return made
