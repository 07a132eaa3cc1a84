"""The boundaries that cutoffs, windows and horizons draw through time, and the segments between them.

Every window `[cutoff - N days, cutoff)` and every horizon `[cutoff, cutoff + N days)` is a run of whole segments. So an
event is looked at once, to say which segment it lies in, however many cutoffs and windows ask about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Grid:
    """Ascending moments. Segment `n` holds the times with exactly `n` boundaries at or before them."""

    boundaries: tuple[datetime, ...]

    @classmethod
    def of(cls, cutoffs: Sequence[datetime], windows: Sequence[int], horizons: Sequence[int]) -> "Grid":
        """The cutoffs, the starts of their windows and the ends of their horizons, in days."""
        shifts = [0, *(-days for days in windows), *horizons]
        return cls(tuple(sorted({cutoff + timedelta(days=days) for cutoff in cutoffs for days in shifts})))

    def place(self, boundary: datetime) -> int:
        """The place `n` of a boundary: what lies before it is in segments up to `n`, what does not, in later ones."""
        return self.boundaries.index(boundary)

    def segment(self, time: ir.Value, boundary_itself: bool = True) -> ir.IntegerValue:
        """How many boundaries are at or before `time`; without `boundary_itself`, how many are before it."""
        return self._between(time, 0, len(self.boundaries), boundary_itself)

    def segments(self, microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same in arrays: the segment of each time, in microseconds since 1970 in UTC."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        bounds = [(boundary - epoch) // timedelta(microseconds=1) for boundary in self.boundaries]
        return np.searchsorted(np.array(bounds, np.int64), microseconds, side="right")

    def _between(self, time: ir.Value, low: int, high: int, boundary_itself: bool) -> ir.IntegerValue:
        # A balanced tree of comparisons: a handful an event, where an inequality join would cost one a boundary.
        if low == high:
            return ibis.literal(low, "int32")
        middle = (low + high) // 2
        moment = ibis.literal(self.boundaries[middle], "timestamp('UTC', 6)")
        earlier = time < moment if boundary_itself else time <= moment
        return earlier.ifelse(
            self._between(time, low, middle, boundary_itself), self._between(time, middle + 1, high, boundary_itself)
        )


class Days:
    """A segment each day in UTC, numbered from 1970."""

    def segments(self, microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
        return microseconds // (SECONDS_A_DAY * 1_000_000)
