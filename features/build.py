"""The dataset: examples, labels and both views, built in the engine from one set of expressions.

Almost every example sees a beginning of its customer's shared history: those are built from sums over segments of
time. The few that a late, corrected or deleted event sets apart are built event by event. Customers come in shards, so
that neither the engine nor this process holds more than a few million events at once.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from threading import Lock

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.definitions import WINDOWS, aggregates, named
from features.aggregates.from_segments import examples
from features.aggregates.grid import Grid
from features.aggregates.segments import before, values_by_segment
from features.aggregates.sums import sums_by_segment
from features.assembly import Apart, assembled, together, with_comparisons, without
from features.dataset import Dataset
from features.examples import eligible, history, included, labels, out_of_turn
from features.question import Question
from features.sequences.histories import (
    ORDER,
    Histories,
    histories_columns,
    pointers,
    starts_of_runs,
    with_positions,
)

KEYS = ["customer_id", "cutoff"]
EVENTS_A_SHARD = 2_000_000
LEAST_EVENTS_A_SHARD = 250_000
SHARDS_AT_ONCE = 2


def build_dataset(
    events: ir.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None = None,
    events_a_shard: int | None = None,
) -> Dataset:
    """Every customer eligible at every cutoff, in order of (cutoff, customer_id): all of `build_shards` in one."""
    return together(list(build_shards(events, cutoffs, question, attributes, labelled_until, events_a_shard)))


def build_shards(
    events: ir.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None = None,
    events_a_shard: int | None = None,
) -> Iterator[Dataset]:
    """A dataset for each run of customers, in order of their ids: every customer eligible at every cutoff, in order of
    (cutoff, customer_id). At least one, which may be empty.

    `events` are the revisions known as of a moment no earlier than the last cutoff. Features use what was visible at
    each cutoff: event time < cutoff and known time <= cutoff. Labels use events in `[cutoff + gap, cutoff + gap +
    horizon)` as known at `labelled_until`, the moment that `events` was read as of; without it there are none. What the
    question excludes is not looked at. `attributes` maps an attribute's name to `numeric` or `categorical`. Customers
    are worked through about `events_a_shard` events at a time, two shards at once, which changes no bit of any feature,
    label or step.
    """
    events, labelled = included(events, question), labelled_until is not None
    apart = out_of_turn(events, cutoffs).to_pyarrow()
    alone = _event_by_event(events, apart, cutoffs, question, attributes, labelled_until) if apart.num_rows else None
    # After a cutoff: where the horizons begin, and where they end.
    ahead = [question.gap, *(question.gap + days for days in question.horizons)] if labelled else []
    grid = Grid.of(cutoffs, (*WINDOWS, question.active_within), ahead)
    engine = Lock()  # it answers one query at a time, while arrays are worked on beside it

    def built(first: str | None, following: str | None) -> Dataset:
        with engine:
            shard = _of_customers(events, first, following)
            ordered = before(shard, grid.boundaries[-1]).order_by(list(ORDER))
            steps = ordered.select("customer_id", *histories_columns(attributes)).to_pyarrow()
            values = {
                name: values_by_segment(shard, grid, name).to_pyarrow() for name in named(attributes, "categorical")
            }
        starts = starts_of_runs(steps, ("customer_id",))
        sums = sums_by_segment(steps, starts, grid, attributes, question=question)
        part = without(examples(sums, values, grid, cutoffs, question, attributes, labelled_until), apart, cutoffs)
        shared = Histories.of(steps, part.customers, starts, attributes)
        theirs = alone and alone.of_customers(first, following)
        return assembled(part, shared, theirs, cutoffs, question, attributes, labelled)

    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        waiting: deque[Future[Dataset]] = deque()
        for bounds in _shards(events, events_a_shard):
            waiting.append(pool.submit(built, *bounds))
            if len(waiting) > SHARDS_AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _event_by_event(
    events: ir.Table,
    apart: pa.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None,
) -> Apart:
    """The examples of `apart`, and the events of those that share no history."""
    of_theirs = events.semi_join(ibis.memtable(apart.select(KEYS[:1])), "customer_id")
    # Held as a table of its own: asked thrice below, and the engine would find the eligible anew each time.
    found = eligible(of_theirs, cutoffs, question).semi_join(ibis.memtable(apart), KEYS)
    asked = ibis.memtable(found.to_pyarrow())
    placed = history(with_positions(of_theirs, max(cutoffs)), asked)
    rows = aggregates(of_theirs, asked, attributes, question).join(pointers(placed), KEYS)
    if labelled_until is not None:
        rows = rows.join(labels(of_theirs, asked, question, labelled_until), KEYS)
    table = with_comparisons(rows.order_by(["cutoff", "customer_id"]).to_pyarrow(), question)
    unshared = table.filter(pc.invert(table["shares"])).select(KEYS)
    own = placed.semi_join(ibis.memtable(unshared), KEYS).order_by(["cutoff", *ORDER])
    return Apart(table, own.to_pyarrow())


def _shards(events: ir.Table, events_a_shard: int | None) -> list[tuple[str | None, str | None]]:
    """Runs of customers: the first of each, None for the very first, and the first of the next, None after the last."""
    total = events.count().to_pyarrow().as_py()
    size = events_a_shard or max(min(total // (2 * SHARDS_AT_ONCE), EVENTS_A_SHARD), LEAST_EVENTS_A_SHARD)
    if total <= size:
        return [(None, None)]
    customers = events.group_by("customer_id").aggregate(events=events.count()).order_by("customer_id").to_pyarrow()
    shard = np.cumsum(customers["events"].to_numpy()) // size
    starts = np.flatnonzero(np.diff(shard, prepend=shard[:1]))
    firsts = customers["customer_id"].take(starts).to_pylist()
    return list(zip([None, *firsts], [*firsts, None], strict=True))


def _of_customers(events: ir.Table, first: str | None, following: str | None) -> ir.Table:
    if first is not None:
        events = events.filter(events.customer_id >= first)
    return events if following is None else events.filter(events.customer_id < following)
