"""Where a difference comes from: the same paired difference within subgroups of the test examples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import CustomerWeights, Interval, mean
from models.evaluation.metrics import example_log_loss

Masks = Mapping[str, Mapping[str, NDArray[np.bool_]]]  # dimension -> subgroup -> [rows]
HISTORY = {"1 to 5 events": (1, 5), "6 to 20 events": (6, 20), "more than 20 events": (21, np.inf)}
RECENCY = {"up to 7 days": (0, 7), "7 to 28 days": (7, 28), "more than 28 days": (28, np.inf)}


@dataclass(frozen=True)
class Subgroup:
    """Some examples, their churn, and the log loss of the conventional model minus that of the recurrent one on them,
    in nats, with its 95 % limits; positive favours the recurrent model.
    """

    dimension: str
    name: str
    examples: int
    churn: float
    difference: Interval


def subgroups(aggregates: pd.DataFrame, seen: NDArray[np.bool_]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Masks by length of history, by recency, and by whether the customer was seen in training."""
    events = aggregates["events_total"].to_numpy()
    recency = aggregates["days_since_last_event"].to_numpy()
    return {
        "length of history": {name: (events >= low) & (events <= high) for name, (low, high) in HISTORY.items()},
        "silence before the cutoff": {
            name: (recency > low) & (recency <= high) for name, (low, high) in RECENCY.items()
        },
        "customer in training": {"seen": seen, "unseen": ~seen},
    }


def subgroup_differences(
    masks: Masks, labels: ArrayLike, recurrent: ArrayLike, conventional: ArrayLike, weights: CustomerWeights
) -> tuple[Subgroup, ...]:
    """The difference within every subgroup that holds examples; `recurrent` and `conventional` are probabilities
    `[rows]`. Customers, and seeds, are resampled within each subgroup.
    """
    truth = np.asarray(labels, dtype=np.float64)
    difference = example_log_loss(truth, conventional) - example_log_loss(truth, recurrent)
    return tuple(
        Subgroup(
            dimension,
            name,
            int(mask.sum()) // weights.seeds,
            float(truth[mask].mean()),
            mean(difference[mask], weights.within(mask)),
        )
        for dimension, named in masks.items()
        for name, mask in named.items()
        if mask.any()
    )
