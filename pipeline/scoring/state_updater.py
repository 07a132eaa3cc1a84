"""The carried state of a champion's customers: made from every history once, moved on by the events of a night, asked.
A model without a state of its own carries the sums that its aggregates are made of, and the times of the last events.

A customer is read anew where a night brings anything that sorts before what was read, or that corrects or deletes it;
all others go on from their state. A block is made of what its origin and the event store hold and of nothing else, so
that a night scored again is the same, and a run that was killed goes on at its first block that is not whole.
"""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.aggregates.definitions import named
from features.aggregates.running import Running, place
from features.sequences.encoding import NEVER
from features.sequences.histories import Histories, starts_of_runs
from features.sequences.recent import Recent
from models.base import Model, Predictions, Stepper
from models.explanation.reasons import RHYTHM
from models.recurrent.batches import Floats32
from pipeline.config.settings import Settings
from pipeline.event_store.night_events import Events, before, objects
from pipeline.event_store.store import open_store
from pipeline.scoring import checkpoints as generations
from pipeline.scoring.checkpoints import Generation, Plan
from pipeline.scoring.query import Asked
from pipeline.scoring.shard import Block, slices
from pipeline.training.registry import Version

EVENTS_A_BLOCK = 1_500_000
NOBODY = pa.array([], pa.string())
OnBlock = Callable[[int, int], None]
Make = Callable[[int], Block]
T = TypeVar("T")


@dataclass(frozen=True)
class Answers:
    """One block's: who is asked about, in order of customer_id, and what the model says of them."""

    asked: Asked
    predictions: Predictions


@dataclass(frozen=True)
class Begun:
    """Customers who are read anew, and their states [customers, width] after all their events before the cutoff."""

    customers: pa.Array
    states: Floats32


class Keeper:
    """Of one model. `answers` is all that scoring asks of one with a state, `asked` of one without."""

    def __init__(
        self, settings: Settings, version: Version, model: Model, events_a_block: int = EVENTS_A_BLOCK
    ) -> None:
        self._settings, self._version = settings, version
        self._stepper = _stepper(model)
        self._store, self._events_a_block = open_store(settings), events_a_block
        self._attributes = self._store.attributes
        # Who is eligible is told from the sums too, where not every event counts.
        self._reads_sums = "aggregates" in model.views or self._stepper is None
        has_sums = self._reads_sums or not settings.question.counts_every_event
        self._categorical = named(self._attributes, "categorical") if has_sums else None
        self._folder = generations.of_version(settings, version)

    def answers(self, cutoff: datetime, on_block: OnBlock | None = None) -> list[Answers]:
        """What the model says at `cutoff`, block by block, from events with event time < cutoff and known time <=
        cutoff. `on_block(done, blocks)` is told of progress. Raises RecurError where the night is not loaded.
        """
        stepper = self._stepper
        assert stepper is not None

        def say(block: Block) -> Answers:
            asked = Asked.of(block, cutoff, self._settings, self._store)
            aggregates = asked.aggregates if self._reads_sums else None
            said = stepper.predict(block.states[asked.rows], asked.standing, aggregates)
            return Answers(replace(asked, aggregates=None), said)  # which nobody asks for again

        return self._of_blocks(cutoff, say, on_block)

    def asked(self, cutoff: datetime) -> list[Asked]:
        """The same without what the model says: who is asked about, and their aggregates."""
        return self._of_blocks(cutoff, lambda block: Asked.of(block, cutoff, self._settings, self._store), None)

    def _of_blocks(self, cutoff: datetime, say: Callable[[Block], T], on_block: OnBlock | None) -> list[T]:
        """What is to `say` of each block of the generation of `cutoff`, in their order. Those that are not there are
        made: made, written and asked in one go, so that none is read that was just in memory.
        """
        self._store.require_loaded(cutoff)
        said: list[T] = []
        cores = os.cpu_count()
        # Each block on one core: splitting such small products among cores costs more than it gains. Beside them goes
        # what waits for the disk, or for nothing that they do.
        with threadpool_limits(1), ThreadPoolExecutor(cores) as beside, ThreadPoolExecutor(cores) as pool:
            if self._stepper is not None:
                beside.submit(self._stepper.trace)
            folder, plan, make = self._generation(Events(self._settings, self._store, cutoff), beside)

            def told(number: int) -> T:
                if make is None or Block.is_whole(folder, number):
                    return say(self._read(folder, number))
                block = make(number)
                written = beside.submit(block.write, folder, number)
                answer = say(block)
                written.result()
                return answer

            for one in pool.map(told, plan.blocks):
                said.append(one)
                if on_block:
                    on_block(len(said), len(plan.blocks))
        if make is not None:
            generations.finish(self._settings, folder, plan)
        return said

    def _generation(self, events: Events, beside: Executor) -> tuple[Path, Plan, Make | None]:
        """The folder and the plan of that of the cutoff of `events`, and what makes its blocks: None where they are."""
        known = objects(self._store, events.cutoff)
        for there in generations.whole(self._folder):
            if there.cutoff == events.cutoff and there.plan.objects == known:
                return there.folder, there.plan, None
        origin = generations.origin(self._folder, events.cutoff, known)
        name = origin.folder.name if origin else None
        plan = generations.resumed(self._folder, events.cutoff, known, name)
        if plan is None:
            starts = origin.plan.starts if origin else events.boundaries(self._events_a_block)
            plan = Plan(known, starts, name)
        folder = generations.begin(self._folder, events.cutoff, plan)
        return folder, plan, self._night(events, origin, beside) if origin else self._anew(events, plan)

    def _anew(self, events: Events, plan: Plan) -> Make:
        """Blocks from whole histories."""
        ends = [None, *plan.starts, None]

        def make(number: int) -> Block:
            read, pending = before(events.between(ends[number], ends[number + 1]), events.cutoff)
            empty = Block.empty(self._stepper.width if self._stepper else 0, pending.cast(events.schema))
            return self._moved(empty, read, NOBODY, lambda: self._begun(events.schema.empty_table()), events.cutoff)

        return make

    def _night(self, events: Events, origin: Generation, beside: Executor) -> Make:
        """Blocks from those of `origin` and the nights since."""
        starts = origin.plan.starts
        held = [self._read(origin.folder, number, whole=False) for number in origin.plan.blocks]
        waiting = [block.pending for block in held if len(block.pending)]
        rows = events.since(origin.cutoff, with_ids=bool(waiting))
        if waiting:
            rows = pa.concat_tables([rows, *waiting]).sort_by(
                [("customer_id", "ascending"), ("event_time", "ascending"), ("event_id", "ascending")]
            )
        fresh, later = before(rows.combine_chunks(), events.cutoff)
        late = [_late(part, block) for part, block in zip(slices(fresh, starts), held, strict=True)]
        anew = pa.concat_arrays([events.changed(origin.cutoff), *late]).unique()
        again, later_again = before(events.of_customers(anew), events.cutoff)
        begun = beside.submit(self._begun, again)
        pending = pa.concat_tables([_without(later, anew), later_again]).sort_by("customer_id")
        parts = list(zip(*(slices(table, starts) for table in (fresh, again, pending)), strict=True))

        def make(number: int) -> Block:
            fresh, again, pending = parts[number]
            read = pa.concat_tables([_without(fresh, anew), again])
            read = read.take(pc.sort_indices(read["customer_id"])) if len(again) else read  # stable: the order stays
            block = replace(self._read(origin.folder, number), pending=pending)
            return self._moved(block, read, anew, begun.result, events.cutoff)

        return make

    def _begun(self, events: pa.Table) -> Begun:
        """From whole histories, those of all blocks together: few long ones beside many short ones cost a block most of
        its steps.
        """
        starts = starts_of_runs(events, ("customer_id",))
        who = events["customer_id"].combine_chunks().take(pa.array(starts))
        if self._stepper is None:
            return Begun(who, np.zeros((len(who), 0), np.float32))
        histories = Histories.of(events, who, starts, self._attributes)
        sequences = histories.sequences(np.arange(len(who)), histories.lengths)
        return Begun(who, self._stepper.advance(self._stepper.start(len(who)), sequences, np.full(len(who), NEVER)))

    def _moved(
        self, block: Block, events: pa.Table, anew: pa.Array, begun: Callable[[], Begun], cutoff: datetime
    ) -> Block:
        """`block` moved on by `events`, in order, each customer's after all that was read of it before; those in `anew`
        are begun anew, to the states that `begun` gives, and go where nothing is left of them.
        """
        events = events.combine_chunks()
        starts = starts_of_runs(events, ("customer_id",))
        who = events["customer_id"].combine_chunks().take(pa.array(starts)).cast(pa.string())
        rows, known = place(who, block.customers), pc.is_in(block.customers, anew)
        gone = np.flatnonzero(known.to_numpy(zero_copy_only=False))
        if (rows >= 0).all() and np.isin(gone, rows).all():
            moved = block.without(gone)
        else:  # some come, or nothing is left of some
            customers = pa.concat_arrays([block.customers.filter(pc.invert(known)), who]).unique()
            customers = customers.take(pc.sort_indices(customers))
            moved, rows = block.among(customers, anew), place(who, customers)
        time = np.asarray(events["event_time"].cast(pa.int64()))
        ends = np.append(starts, len(time))[1:]
        previous = moved.last[rows]
        new, after = previous == NEVER, moved.states
        if self._stepper is not None:
            going = pc.invert(pc.is_in(who, anew)).to_numpy(zero_copy_only=False)
            states = moved.states[rows]
            states[new] = self._stepper.start(int(new.sum()))
            histories = Histories.of(events, who, starts, self._attributes)
            if not going.all():
                histories = histories.only(going, np.ones(len(time), bool))
            sequences = histories.sequences(np.arange(len(histories.lengths)), histories.lengths)
            states[going] = self._stepper.advance(states[going], sequences, previous[going])
            if not going.all():
                whole = begun()
                states[~going] = whole.states[place(who.filter(pa.array(~going)), whole.customers)]
            after[rows] = states
        moved.events[rows] += ends - starts
        moved.first[rows] = np.where(new, time[starts], moved.first[rows])
        moved.last[rows] = time[ends - 1]
        running = None
        if self._categorical is not None:
            more = Running.of(events, starts, rows, self._attributes, previous, self._settings.question)
            running = (moved.running.with_more(more) if moved.running else more).folded(cutoff)
        recent = None
        if self._stepper is None:
            recent = moved.recent or Recent(rows[:0], time[:0], RHYTHM)
            recent = recent.with_more(np.repeat(rows, ends - starts), time)
        return replace(moved, states=after, running=running, recent=recent)

    def _read(self, folder: Path, number: int, whole: bool = True) -> Block:
        """Without `whole`, without the sums."""
        return Block.read(folder, number, self._categorical if whole else None)


@lru_cache(maxsize=1)  # its functions are traced once a process, not once a night
def _stepper(model: Model) -> Stepper | None:
    return model.stepper()


def _late(events: pa.Table, block: Block) -> pa.Array:
    """The customers of `events`, in order, whose first one does not come after all that was read of them."""
    first = events.take(pa.array(starts_of_runs(events, ("customer_id",))))
    row = place(first["customer_id"], block.customers)
    time = first["event_time"].cast(pa.int64()).to_numpy()
    late = (row >= 0) & (time <= block.last[row]) if len(block.last) else np.zeros(len(row), bool)
    return first["customer_id"].combine_chunks().filter(pa.array(late))


def _without(events: pa.Table, customers: pa.Array) -> pa.Table:
    return events.filter(pc.invert(pc.is_in(events["customer_id"], customers)))
