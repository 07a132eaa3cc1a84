"""What events make of one shard of carried state: its hidden states, sums and last events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.running import Running, place
from features.dataset import Integers
from features.question import Question
from features.sequences.encoding import NEVER
from features.sequences.histories import Histories, starts_of_runs
from features.sequences.recent import Recent
from models.base import Stepper
from models.explanation.reasons import RHYTHM
from models.recurrent.batches import Floats32
from pipeline.scoring.shard import StateShard

NOBODY = pa.array([], pa.string())


@dataclass(frozen=True)
class CustomerEvents:
    """Events in order, text as codes; those of `customers[i]` begin at `starts[i]`."""

    table: pa.Table
    starts: Integers
    customers: pa.Array

    @classmethod
    def of(cls, events: pa.Table) -> Self:
        table = events.combine_chunks()
        starts = starts_of_runs(table, ("customer_id",))
        return cls(table, starts, table["customer_id"].combine_chunks().take(pa.array(starts)).cast(pa.string()))

    def histories(self, attributes: Mapping[str, str]) -> Histories:
        return Histories.of(self.table, self.customers, self.starts, attributes)


@dataclass(frozen=True)
class Recomputed:
    """Customers read from their whole histories, and their states [customers, width] after the last event."""

    customers: pa.Array
    states: Floats32


@dataclass(frozen=True)
class ShardUpdater:
    """Without a `stepper` no states are carried but the times of the last events; `categorical` names the attributes
    whose values the sums keep, None where no sums are carried.
    """

    question: Question
    attributes: Mapping[str, str]
    stepper: Stepper | None
    categorical: list[str] | None

    def empty(self, pending: pa.Table) -> StateShard:
        return StateShard.empty(self.stepper.width if self.stepper else 0, pending)

    def recompute(self, events: pa.Table) -> Recomputed:
        """From whole histories. Those of all shards go together: in a shard of their own few long ones would take most
        of its steps.
        """
        whole = CustomerEvents.of(events)
        customers = len(whole.customers)
        if self.stepper is None:
            return Recomputed(whole.customers, np.zeros((customers, 0), np.float32))
        histories = whole.histories(self.attributes)
        sequences = histories.sequences(np.arange(customers), histories.lengths)
        states = self.stepper.advance(self.stepper.start(customers), sequences, np.full(customers, NEVER))
        return Recomputed(whole.customers, states)

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
        time = np.asarray(new.table["event_time"].cast(pa.int64()))
        ends = np.append(new.starts, len(time))[1:]
        previous = shard.last[rows]
        if self.stepper is not None:
            restarted = pc.is_in(new.customers, reset).to_numpy(zero_copy_only=False)
            states = self._advanced(self.stepper, shard.states[rows], new, restarted, previous)
            if recomputed and restarted.any():
                whole = recomputed()
                states[restarted] = whole.states[place(new.customers.filter(pa.array(restarted)), whole.customers)]
            shard.states[rows] = states
        shard.events[rows] += ends - new.starts
        shard.first[rows] = np.where(previous == NEVER, time[new.starts], shard.first[rows])
        shard.last[rows] = time[ends - 1]
        running = recent = None
        if self.categorical is not None:
            more = Running.of(new.table, new.starts, rows, self.attributes, previous, self.question)
            running = (shard.running.with_more(more) if shard.running else more).folded(cutoff)
        if self.stepper is None:
            recent = shard.recent or Recent(rows[:0], time[:0], RHYTHM)
            recent = recent.with_more(np.repeat(rows, ends - new.starts), time)
        return replace(shard, running=running, recent=recent)

    def _advanced(
        self,
        stepper: Stepper,
        states: Floats32,
        new: CustomerEvents,
        restarted: np.ndarray,
        previous: Integers,
    ) -> Floats32:
        """The states after the new events, of all but the `restarted` customers."""
        newcomers, going = previous == NEVER, ~restarted
        states[newcomers] = stepper.start(int(newcomers.sum()))
        histories = new.histories(self.attributes)
        if restarted.any():
            histories = histories.only(going, np.ones(len(new.table), bool))
        sequences = histories.sequences(np.arange(len(histories.lengths)), histories.lengths)
        states[going] = stepper.advance(states[going], sequences, previous[going])
        return states


def _aligned(shard: StateShard, customers: pa.Array, reset: pa.Array) -> tuple[StateShard, Integers]:
    """A copy of `shard` in which `reset` customers have no event and each of `customers` has a row, and these rows."""
    rows, resets = place(customers, shard.customers), pc.is_in(shard.customers, reset)
    reset_rows = np.flatnonzero(resets.to_numpy(zero_copy_only=False))
    if (rows >= 0).all() and np.isin(reset_rows, rows).all():
        return shard.reset(reset_rows), rows
    # Some are new, or have no events left.
    merged = pa.concat_arrays([shard.customers.filter(pc.invert(resets)), customers]).unique()
    merged = merged.take(pc.sort_indices(merged))
    return shard.aligned_to(merged, reset), place(customers, merged)
