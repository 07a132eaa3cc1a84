"""Events as they are known to somebody, one history after the other: to be summed, and to be read step by step."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa

from features.aggregates.rows import ValueRuns
from features.aggregates.sums import microseconds_of, sums_by_bin
from features.aggregates.time_bins import TimeBins
from features.aggregates.totals import RunningTotals
from features.arrays import Integers
from features.dataset import Sequences
from features.sequences.histories import histories_of
from features.spec import FeatureSpec


@dataclass(frozen=True, eq=False)
class KnownEvents:
    """`events` in order, with the columns of an event; `starts` where each history begins, none of which is empty."""

    events: pa.Table
    starts: Integers
    spec: FeatureSpec

    @classmethod
    def of(cls, events: pa.Table, lengths: Integers, spec: FeatureSpec) -> Self:
        """Histories of these lengths, each above 0."""
        return cls(events, np.cumsum(lengths) - lengths, spec)

    def shifted(self, microseconds: Integers) -> Self:
        """Each history so much earlier: `microseconds` [histories] are whole days."""
        lengths = np.diff(self.starts, append=len(self.events))
        time = microseconds_of(self.events["event_time"]) - np.repeat(microseconds, lengths)
        column = self.events.column_names.index("event_time")
        times = pa.array(time).cast(pa.timestamp("us", "UTC"))
        return type(self)(self.events.set_column(column, "event_time", times), self.starts, self.spec)

    @cached_property
    def histories(self) -> Sequences:
        return histories_of(self.events, self.starts, self.spec)

    def totals(self, bins: TimeBins) -> RunningTotals:
        """By history and bin."""
        return RunningTotals(sums_by_bin(self.events, self.starts, bins, self.spec), bins)

    def values(self, bins: TimeBins) -> dict[str, ValueRuns]:
        """Where each value of each categorical attribute occurs."""
        if not self.spec.categorical:
            return {}
        history = np.repeat(np.arange(len(self.starts)), self.histories.lengths)
        bin_of, coded = bins.bins(self.histories.event_time), self.histories.categorical
        return {name: ValueRuns.of(history, coded[name][0], bin_of) for name in self.spec.categorical}
