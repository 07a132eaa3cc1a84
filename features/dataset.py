"""What models are given: examples with their labels, and the two views of them, in arrays that line up row by row."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """Histories, stored once as flat columns sorted by (history, event_time, event_id), and a pointer an example.

    History `h` is the steps `offsets[h]:offsets[h + 1]`. Example `i` sees the first `length[i]` steps of history
    `history[i]`: exactly the events with event time < cutoff and known time <= cutoff. `length` is at least 1.
    """

    offsets: Integers  # [histories + 1]
    event_time: Integers  # [steps], microseconds since 1970 in UTC
    numeric: dict[str, Floats]  # name -> [steps]; NaN where null; `amount`, `quantity` and the numeric attributes
    categorical: dict[str, tuple[NDArray[np.int32], list[str]]]  # name -> (codes [steps], -1 where null; values)
    history: Integers  # [examples]
    length: Integers  # [examples]

    @property
    def last_step(self) -> Integers:
        """[examples]: the flat position of the last event before each example's cutoff."""
        return self.offsets[self.history] + self.length - 1


@dataclass(frozen=True)
class Labels:
    """What happened in `[cutoff, cutoff + horizon)`, one column a horizon in the question's order, in `[examples,
    horizons]`; NaN where the horizon was not fully observed. `churn` is 1 where no event happened.
    """

    churn: Floats
    purchases: Floats
    spend: Floats


@dataclass(frozen=True)
class Dataset:
    """Examples and everything about them, aligned by row, in order of (cutoff, customer_id)."""

    horizons: tuple[int, ...]  # days
    customer_id: NDArray[np.object_]  # [examples], strings
    cutoff: Integers  # [examples], microseconds since 1970 in UTC
    aggregates: pd.DataFrame  # [examples, features], float64, NaN where undefined
    sequences: Sequences
    labels: Labels | None  # None where nothing is known of the horizon, as when scoring

    def __len__(self) -> int:
        return len(self.customer_id)

    def select(self, rows: NDArray[np.bool_] | Integers) -> "Dataset":
        """The examples of `rows` (a mask or positions). Histories are shared, not copied."""
        labels = self.labels and Labels(self.labels.churn[rows], self.labels.purchases[rows], self.labels.spend[rows])
        return replace(
            self,
            customer_id=self.customer_id[rows],
            cutoff=self.cutoff[rows],
            aggregates=self.aggregates.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(
                drop=True
            ),
            sequences=replace(self.sequences, history=self.sequences.history[rows], length=self.sequences.length[rows]),
            labels=labels,
        )
