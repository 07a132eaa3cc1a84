"""What events make of one shard of carried state: its hidden states, sums and last events."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.carried_sums import CarriedSums
from features.aggregates.sums import microseconds_of
from features.arrays import Integers, Mask
from features.dataset import Sequences
from features.roles import all_alike, is_activity, is_end
from features.sequences.histories import histories_of, positions, starts_of_runs
from features.sequences.recent import Recent
from features.spec import FeatureSpec
from features.time import NEVER, day_number
from models.base import Stepper
from models.explanation.reasons import RHYTHM
from models.recurrent.batches import Floats32
from pipeline.scoring.shard import StateShard

NOBODY = pa.array([], pa.string())
Recomputed = tuple[pa.Array, Floats32]
"""Customers read from their whole histories, and their states [customers, width] after the last event."""


@dataclass(frozen=True)
class CustomerEvents:
    """Events in order, without their ids; those of `customers[i]` begin at `starts[i]`."""

    table: pa.Table
    starts: Integers
    customers: pa.Array

    @classmethod
    def of(cls, events: pa.Table) -> Self:
        table = events.drop_columns(["event_id"]).combine_chunks()
        starts = starts_of_runs(table, "customer_id")
        return cls(table, starts, table["customer_id"].combine_chunks().take(pa.array(starts)).cast(pa.string()))

    @property
    def ends(self) -> Integers:
        return np.append(self.starts, len(self.table))[1:]

    def histories(self, spec: FeatureSpec) -> Sequences:
        """One whole history a customer."""
        return histories_of(self.table, self.starts, spec).whole()


@dataclass(frozen=True)
class ShardUpdater:
    """Without a `stepper` no states are carried but the times of the last events; `has_sums` says whether the sums
    that aggregates are made of are.
    """

    spec: FeatureSpec
    stepper: Stepper | None
    has_sums: bool

    def recompute(self, events: pa.Table) -> Recomputed:
        """From whole histories. Those of all shards go together: in a shard of their own few long ones would take most
        of its steps.
        """
        whole = CustomerEvents.of(events)
        customers = len(whole.customers)
        if self.stepper is None:
            return whole.customers, np.zeros((customers, 0), np.float32)
        histories = whole.histories(self.spec)
        states = self.stepper.advance(self.stepper.start(customers), histories, np.full(customers, NEVER))
        return whole.customers, states

    def advance(
        self,
        shard: StateShard,
        events: pa.Table,
        cutoff: datetime,
        reset: pa.Array = NOBODY,
        recomputed: Callable[[], Recomputed] | None = None,
    ) -> StateShard:
        """`shard` after `events` before `cutoff`, each customer's later than all that it read before. The customers in
        `reset` restart, with the states that `recomputed` gives, and are dropped where they have no events left.
        """
        new = CustomerEvents.of(events)
        shard, rows = _aligned(shard, new.customers, reset)
        time, ends = microseconds_of(new.table["event_time"]), new.ends
        previous = shard.last[rows]
        if self.stepper is not None:
            restarted = pc.is_in(new.customers, reset).to_numpy(zero_copy_only=False)
            states = self._advanced(self.stepper, shard.states[rows], new, restarted, previous)
            if recomputed and restarted.any():
                customers, whole = recomputed()
                states[restarted] = whole[positions(new.customers.filter(pa.array(restarted)), customers)]
            shard.states[rows] = states
        shard.events[rows] += ends - new.starts
        shard.first[rows] = np.where(previous == NEVER, time[new.starts], shard.first[rows])
        shard.last[rows] = time[ends - 1]
        shard.active[rows], shard.ended[rows] = self._latest(new, time, shard.active[rows], shard.ended[rows])
        sums = recent = None
        if self.has_sums:
            more = CarriedSums.of(new.table, new.starts, rows, self.spec, previous)
            sums = (shard.sums.with_more(more) if shard.sums else more).folded(day_number(cutoff))
        if self.stepper is None:
            recent = shard.recent or Recent(rows[:0], time[:0], RHYTHM)
            recent = recent.with_more(np.repeat(rows, ends - new.starts), time)
        return replace(shard, sums=sums, recent=recent)

    def _latest(
        self, new: CustomerEvents, time: Integers, active: Integers, ended: Integers
    ) -> tuple[Integers, Integers]:
        """The times of each customer's latest activity and end, after those that are given."""
        types = new.table["event_type"]
        if all_alike(types, self.spec):
            return time[new.ends - 1], ended

        def later(mask: Mask, before: Integers) -> Integers:
            times = np.where(mask, time, NEVER)
            return np.maximum(before, np.maximum.reduceat(times, new.starts) if len(times) else before)

        return later(is_activity(types, self.spec), active), later(is_end(types, self.spec), ended)

    def _advanced(
        self, stepper: Stepper, states: Floats32, new: CustomerEvents, restarted: np.ndarray, previous: Integers
    ) -> Floats32:
        """The states after the new events, of all but the `restarted` customers."""
        newcomers, going = previous == NEVER, ~restarted
        states[newcomers] = stepper.start(int(newcomers.sum()))
        histories = new.histories(self.spec)
        if restarted.any():
            histories = histories.take(np.flatnonzero(going)).whole()
        states[going] = stepper.advance(states[going], histories, previous[going])
        return states


def _aligned(shard: StateShard, customers: pa.Array, reset: pa.Array) -> tuple[StateShard, Integers]:
    """A copy of `shard` in which `reset` customers have no event and each of `customers` has a row, and these rows."""
    rows, resets = positions(customers, shard.customers), pc.is_in(shard.customers, reset)
    reset_rows = np.flatnonzero(resets.to_numpy(zero_copy_only=False))
    if (rows >= 0).all() and np.isin(reset_rows, rows).all():
        return shard.reset(reset_rows), rows
    # Some are new, or have no events left.
    merged = pa.concat_arrays([shard.customers.filter(pc.invert(resets)), customers]).unique()
    merged = merged.take(pc.sort_indices(merged))
    return shard.aligned_to(merged, reset), positions(customers, merged)
