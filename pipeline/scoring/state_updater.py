"""The carried state of a champion's customers: computed from whole histories once, then updated by each night's events.
A model without a state carries the sums that aggregates are made of, and the times of the last events.

A customer is recomputed where a night brings an event that sorts before those already read, or corrects or deletes one;
all others continue from their state. A shard is made from its origin and the event store and from nothing else, so a
night scored again is the same, and a killed run continues at its first incomplete shard.
"""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.arrays import Integers
from features.sequences.histories import positions, starts_of_runs
from models.base import Model, Predictions, Stepper
from pipeline.event_store.night_events import NightEvents, split_at
from pipeline.runtime.engine import session
from pipeline.scoring.checkpoints import Checkpoint, Checkpoints, Plan
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.query import QueryShard
from pipeline.scoring.shard import StateShard, split_by_customer
from pipeline.scoring.shard_updater import ShardUpdater
from pipeline.training.registry import Version

EVENTS_A_SHARD = 1_500_000
ORDER = [("customer_id", "ascending"), ("event_time", "ascending"), ("event_id", "ascending")]
MakeShard = Callable[[int], StateShard]
T = TypeVar("T")


class StateUpdater:
    """Of one model. Scoring calls `predictions` of a model with a state, and `queries` of one that reads aggregates."""

    def __init__(
        self, inputs: ScoringInputs, version: Version, model: Model, events_a_shard: int = EVENTS_A_SHARD
    ) -> None:
        self._stepper = _stepper(model)
        self._has_sums = "aggregates" in model.views or self._stepper is None
        self._inputs, self._events_a_shard = inputs, events_a_shard
        self._checkpoints = Checkpoints(inputs.state, version)
        self._shards = ShardUpdater(inputs.spec, self._stepper, self._has_sums)

    def predictions(self, cutoff: datetime, days: Integers | None = None) -> list[tuple[QueryShard, Predictions]]:
        """By shard, who is eligible and what is predicted of them, their survival of `days` included where such are
        given, from events with event time < cutoff and known time <= cutoff. Raises RecurError where the night is not
        loaded.
        """
        stepper = self._stepper
        assert stepper is not None

        def predict(shard: StateShard) -> tuple[QueryShard, Predictions]:
            query = QueryShard.of(shard, cutoff, self._inputs)
            standing = shard.states[query.rows], query.at_cutoff, query.aggregates
            predictions = stepper.predict(*standing)
            if days is not None:
                predictions = replace(predictions, survival=stepper.survival(*standing, days))
            return replace(query, aggregates=None), predictions  # not needed again: frees memory

        return self._each_shard(cutoff, predict)

    def queries(self, cutoff: datetime) -> list[QueryShard]:
        """The same without predictions: who is eligible, and their aggregates."""
        return self._each_shard(cutoff, lambda shard: QueryShard.of(shard, cutoff, self._inputs))

    def _each_shard(self, cutoff: datetime, work: Callable[[StateShard], T]) -> list[T]:
        """`work` on every shard of the checkpoint of `cutoff`, in order. A missing shard is made, worked on while in
        memory, and written meanwhile.
        """
        inputs, cores = self._inputs, os.cpu_count()
        inputs.store.require_loaded(cutoff)
        # Each shard on one core: splitting such small products among cores costs more than it gains. What waits for
        # the disk, or is independent of the shards, runs beside them.
        with (
            threadpool_limits(1),
            session(inputs.state) as connection,
            ThreadPoolExecutor(cores) as beside,
            ThreadPoolExecutor(cores) as pool,
        ):
            if self._stepper is not None:
                beside.submit(self._stepper.trace)
            events = NightEvents(inputs.store, inputs.spec, cutoff, connection)
            folder, plan, make = self._checkpoint(events, beside)

            def worked(number: int) -> T:
                if make is None or StateShard.is_complete(folder, number):
                    return work(self._read(folder, number))
                shard = make(number)
                written = beside.submit(shard.write, folder, number)
                result = work(shard)
                written.result()
                return result

            results = list(pool.map(worked, plan.shards))
        if make is not None:
            self._checkpoints.finish(cutoff, plan)
        return results

    def _checkpoint(self, events: NightEvents, beside: Executor) -> tuple[Path, Plan, MakeShard | None]:
        """The folder and plan of the cutoff's checkpoint, and what makes its shards: None where it is complete."""
        cutoff, checkpoints = events.cutoff, self._checkpoints
        objects = self._inputs.store.digests(cutoff)
        if complete := checkpoints.of_cutoff(cutoff, objects):
            return complete.folder, complete.plan, None
        origin = checkpoints.latest_before(cutoff, objects)
        origin_name = origin.folder.name if origin else None
        plan = checkpoints.interrupted_plan(cutoff, objects, origin_name)
        if plan is None:
            starts = origin.plan.starts if origin else events.boundaries(self._events_a_shard)
            plan = Plan(objects, starts, origin_name)
        folder = checkpoints.begin(cutoff, plan)
        return folder, plan, self._from_origin(events, origin, beside) if origin else self._from_scratch(events, plan)

    def _from_scratch(self, events: NightEvents, plan: Plan) -> MakeShard:
        """Shards from whole histories."""
        ends, width = [None, *plan.starts, None], self._stepper.width if self._stepper else 0

        def make(number: int) -> StateShard:
            read, pending = split_at(events.between(ends[number], ends[number + 1]), events.cutoff)
            empty = StateShard.empty(width, pending.cast(events.schema))
            return self._shards.advance(empty, read, events.cutoff)

        return make

    def _from_origin(self, events: NightEvents, origin: Checkpoint, beside: Executor) -> MakeShard:
        """Shards from those of `origin` and the events of the nights since."""
        cutoff, starts = events.cutoff, origin.plan.starts
        shards = [self._read(origin.folder, number, sums=False) for number in origin.plan.shards]
        waiting = [shard.pending for shard in shards if len(shard.pending)]
        rows = events.since(origin.cutoff)
        if waiting:
            rows = pa.concat_tables([rows, *waiting]).sort_by(ORDER)
        fresh, later = split_at(rows.combine_chunks(), cutoff)
        late = [_late(*pair) for pair in zip(split_by_customer(fresh, starts), shards, strict=True)]
        reset = pa.concat_arrays([events.changed(origin.cutoff), *late]).unique()
        whole, whole_later = split_at(events.of_customers(reset), cutoff)
        recomputed = beside.submit(self._shards.recompute, whole)
        pending = pa.concat_tables([_without(later, reset), whole_later]).sort_by("customer_id")
        tables = (fresh, whole, pending)
        by_shard = list(zip(*(split_by_customer(table, starts) for table in tables), strict=True))

        def make(number: int) -> StateShard:
            fresh, whole, pending = by_shard[number]
            read = pa.concat_tables([_without(fresh, reset), whole])
            read = read.take(pc.sort_indices(read["customer_id"])) if len(whole) else read  # stable: the order stays
            shard = replace(self._read(origin.folder, number), pending=pending)
            return self._shards.advance(shard, read, cutoff, reset, recomputed.result)

        return make

    def _read(self, folder: Path, number: int, sums: bool = True) -> StateShard:
        return StateShard.read(folder, number, self._inputs.spec.categorical if sums and self._has_sums else None)


@lru_cache(maxsize=1)  # its functions are traced once a process, not once a night
def _stepper(model: Model) -> Stepper | None:
    return model.stepper()


def _late(events: pa.Table, shard: StateShard) -> pa.Array:
    """The customers of `events`, in order, whose first one does not come after all that the shard read of them."""
    first = events.take(pa.array(starts_of_runs(events, "customer_id")))
    row = positions(first["customer_id"], shard.customers)
    time = first["event_time"].cast(pa.int64()).to_numpy()
    late = (row >= 0) & (time <= shard.last[row]) if len(shard.last) else np.zeros(len(row), bool)
    return first["customer_id"].combine_chunks().filter(pa.array(late))


def _without(events: pa.Table, customers: pa.Array) -> pa.Table:
    return events.filter(pc.invert(pc.is_in(events["customer_id"], customers)))
