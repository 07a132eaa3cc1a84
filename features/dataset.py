"""What models are given: examples with their labels, and the two views of them, in arrays that line up row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MICROSECONDS_A_DAY = 86_400_000_000


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

    def histories(self, first: int, last: int) -> "Sequences":
        """The histories `[first, last)` without a copy of their steps, and without examples."""
        steps = slice(self.offsets[first], self.offsets[last])
        return Sequences(
            offsets=self.offsets[first : last + 1] - self.offsets[first],
            event_time=self.event_time[steps],
            numeric={name: values[steps] for name, values in self.numeric.items()},
            categorical={name: (codes[steps], values) for name, (codes, values) in self.categorical.items()},
            history=np.zeros(0, np.int64),
            length=np.zeros(0, np.int64),
        )


@dataclass(frozen=True)
class Labels:
    """What happened in `[cutoff + gap, cutoff + gap + horizon)`, one column a horizon in the question's order, in
    `[examples, horizons]`; NaN where the horizon was not fully observed. `churn` is 1 where the customer did not
    come back, or where an event ended the customer, as the question has it. The last two are
    there where it asks for the next event.
    """

    churn: Floats
    purchases: Floats
    spend: Floats
    next_event_days: Floats | None = None  # [examples], from `cutoff + gap` to the next event; NaN where none is known
    next_event_type: NDArray[np.object_] | None = None  # [examples], its type; None where none is known

    def select(self, rows: NDArray[np.bool_] | Integers) -> "Labels":
        """The labels of `rows` (a mask or positions)."""
        days, types = self.next_event_days, self.next_event_type
        return Labels(
            self.churn[rows],
            self.purchases[rows],
            self.spend[rows],
            None if days is None else days[rows],
            None if types is None else types[rows],
        )

    @classmethod
    def blank(cls, rows: int, like: "Labels") -> "Labels":
        """Room for `rows` examples with the targets of `like`, for `put`."""
        churn, purchases, spend = (np.empty((rows, like.churn.shape[1])) for _ in range(3))
        if like.next_event_days is None:
            return cls(churn, purchases, spend)
        return cls(churn, purchases, spend, np.empty(rows), np.empty(rows, object))

    def put(self, rows: Integers, others: "Labels") -> None:
        """Write `others` into `rows`, in place."""
        for name in ("churn", "purchases", "spend", "next_event_days", "next_event_type"):
            if getattr(self, name) is not None:
                getattr(self, name)[rows] = getattr(others, name)

    def known_by(self, ends: Integers, opens: Integers, moment: int) -> "Labels":
        """What of the labels was known at `moment`: NaN where the horizon's end [examples, horizons] lies after it, or
        where the next event does not lie before it; `opens` [examples] is `cutoff + gap`. All in microseconds.
        """
        churn, purchases, spend = (
            np.where(ends > moment, np.nan, kind) for kind in (self.churn, self.purchases, self.spend)
        )
        days, types = self.next_event_days, self.next_event_type
        if days is not None and types is not None:
            known = opens + days * MICROSECONDS_A_DAY < moment
            days, types = np.where(known, days, np.nan), texts(types.tolist(), known)
        return Labels(churn, purchases, spend, days, types)


def texts(values: Sequence[str | None], kept: NDArray[np.bool_]) -> NDArray[np.object_]:
    """`values` as an array, None where not `kept`."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    found[~kept] = None
    return found


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
        return replace(
            self,
            customer_id=self.customer_id[rows],
            cutoff=self.cutoff[rows],
            aggregates=self.aggregates.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(
                drop=True
            ),
            sequences=replace(self.sequences, history=self.sequences.history[rows], length=self.sequences.length[rows]),
            labels=self.labels and self.labels.select(rows),
        )
