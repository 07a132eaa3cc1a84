"""Where a difference comes from: the same paired difference within slices of the test examples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import Interval, customer_weights, mean
from models.evaluation.metrics import example_log_loss

HISTORY = {"1 to 5 events": (1, 5), "6 to 20 events": (6, 20), "more than 20 events": (21, np.inf)}
SILENCE = {"up to 7 days": (0, 7), "7 to 28 days": (7, 28), "more than 28 days": (28, np.inf)}


@dataclass(frozen=True)
class Slice:
    """One slice: its examples, their churn, and the log loss of the conventional model minus that of the recurrent
    one within it, in nats, with its 95 % limits; positive favours the recurrent model.
    """

    dimension: str
    name: str
    examples: int
    churn: float
    difference: Interval


def members(aggregates: pd.DataFrame, seen: NDArray[np.bool_]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Dimension to slice to mask `[examples]`: by length of history, by silence before the cutoff, and by whether the
    customer was seen in training.
    """
    events = aggregates["events_total"].to_numpy()
    silent = aggregates["days_since_last_event"].to_numpy()
    return {
        "length of history": {name: (events >= low) & (events <= high) for name, (low, high) in HISTORY.items()},
        "silence before the cutoff": {name: (silent > low) & (silent <= high) for name, (low, high) in SILENCE.items()},
        "customer in training": {"seen": seen, "unseen": ~seen},
    }


def sliced_difference(
    slices: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    labels: ArrayLike,
    customer_id: ArrayLike,
    recurrent: ArrayLike,
    conventional: ArrayLike,
    seed: int,
    replicates: int = 500,
) -> tuple[Slice, ...]:
    """The difference within every slice that holds examples; `recurrent` and `conventional` are probabilities
    `[examples]`. Customers are resampled within each slice.
    """
    truth, customers = np.asarray(labels, dtype=np.float64), np.asarray(customer_id, dtype=object)
    difference = example_log_loss(truth, conventional) - example_log_loss(truth, recurrent)
    return tuple(
        Slice(
            dimension,
            name,
            int(mask.sum()),
            float(truth[mask].mean()),
            mean(difference[mask], customer_weights(customers[mask], replicates, seed)),
        )
        for dimension, named in slices.items()
        for name, mask in named.items()
        if mask.any()
    )
