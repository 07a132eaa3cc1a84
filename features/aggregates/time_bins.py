"""The boundaries that cutoffs, windows and horizons draw through time, and the bins between them.

Every window `[cutoff - N days, cutoff)` and every horizon `[cutoff, cutoff + N days)` is a run of whole bins. So an
event is looked at once, to say which bin it lies in, however many cutoffs and windows ask about it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from features.arrays import Integers
from features.time import MICROSECONDS_A_DAY


@dataclass(frozen=True, eq=False)
class TimeBins:
    """Ascending instants, in microseconds. Bin `n` holds the times with exactly `n` boundaries at or before them."""

    boundaries: Integers

    @classmethod
    def of(cls, cutoffs: Integers, days: Iterable[int]) -> "TimeBins":
        """The cutoffs, and for each of them the instants so many `days` after (negative: before) it."""
        shifts = np.array([0, *days], np.int64) * MICROSECONDS_A_DAY
        return cls(np.unique(cutoffs[:, None] + shifts))

    def __len__(self) -> int:
        return len(self.boundaries) + 1

    def bins(self, times: Integers) -> Integers:
        """The bin of each time."""
        return np.searchsorted(self.boundaries, times, side="right")

    def before(self, boundary: int) -> int:
        """The number `n` of a boundary: what lies before it is in bins up to `n`, what does not, in later ones."""
        return int(np.searchsorted(self.boundaries, boundary))


class DayBins:
    """A bin each day in UTC, numbered from 1970."""

    def bins(self, times: Integers) -> Integers:
        return times // MICROSECONDS_A_DAY
