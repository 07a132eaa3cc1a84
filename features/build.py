"""The dataset: examples, labels and both views, built in the engine from one set of expressions.

Almost every example sees a beginning of its customer's shared history: those are built from sums over segments of
time. The few that a late, corrected or deleted event sets apart are built event by event. Customers come in shards, so
that the engine never holds more than a few million events at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates import WINDOWS, aggregates, definitions, named
from features.dataset import Dataset, Labels
from features.examples import eligible, history, labels, out_of_turn
from features.from_segments import Part, examples
from features.grid import Grid
from features.question import Question
from features.segments import before, by_segment, values_by_segment
from features.sequences import ORDER, Histories, pointers, with_positions

KEYS = ["customer_id", "cutoff"]
EVENTS_A_SHARD = 4_000_000
TIME = pa.timestamp("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build_dataset(
    events: ir.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None = None,
    events_a_shard: int = EVENTS_A_SHARD,
) -> Dataset:
    """Every customer eligible at every cutoff, in order of (cutoff, customer_id).

    `events` are the revisions known as of a moment no earlier than the last cutoff. Features use what was visible at
    each cutoff: event time < cutoff and known time <= cutoff. Labels use events in `[cutoff, cutoff + horizon)` as
    known at `labelled_until`, the moment that `events` was read as of; without it there are none. `attributes` maps an
    attribute's name to `numeric` or `categorical`. Customers are worked through about `events_a_shard` events at a
    time, which changes no bit of the result.
    """
    apart = out_of_turn(events, cutoffs).to_pyarrow()
    alone, own = _event_by_event(events, apart, cutoffs, question, attributes, labelled_until)
    grid = Grid.of(cutoffs, (*WINDOWS, question.active_within), question.horizons if labelled_until is not None else ())
    histories, parts = Histories(attributes), []
    for shard in _shards(events, events_a_shard):
        sums = by_segment(shard, grid, attributes).to_pyarrow()
        values = {name: values_by_segment(shard, grid, name).to_pyarrow() for name in named(attributes, "categorical")}
        part = _without(examples(sums, values, grid, cutoffs, question, attributes, labelled_until), apart, cutoffs)
        # Customers of no example leave their events behind.
        asked = pa.concat_arrays(
            [part.customers.take(np.unique(part.customer)), alone["customer_id"].unique()]
        ).unique()
        steps = before(shard, max(cutoffs)).semi_join(ibis.memtable(pa.table({"customer_id": asked})), "customer_id")
        steps = steps.order_by(list(ORDER)).select("customer_id", *histories.columns)
        histories.add(steps.to_pyarrow(), ("customer_id",))
        parts.append(part)
    return _assembled(parts, alone, own, histories, cutoffs, question, attributes, labelled_until is not None)


def _event_by_event(
    events: ir.Table,
    apart: pa.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None,
) -> tuple[pa.Table, pa.Table]:
    """The examples of `apart`, in order of (cutoff, customer_id), and the events of those that share no history."""
    of_theirs = events.semi_join(ibis.memtable(apart.select(KEYS[:1])), "customer_id")
    # Held as a table of its own: asked thrice below, and the engine would find the eligible anew each time.
    found = eligible(of_theirs, cutoffs, question).semi_join(ibis.memtable(apart), KEYS)
    asked = ibis.memtable(found.to_pyarrow())
    placed = history(with_positions(of_theirs, max(cutoffs)), asked)
    rows = aggregates(of_theirs, asked, attributes).join(pointers(placed), KEYS)
    if labelled_until is not None:
        rows = rows.join(labels(of_theirs, asked, question, labelled_until), KEYS)
    table = rows.order_by(["cutoff", "customer_id"]).to_pyarrow()
    unshared = table.filter(pc.invert(table["shares"])).select(KEYS)
    own = placed.semi_join(ibis.memtable(unshared), KEYS).order_by(["cutoff", *ORDER])
    return table, own.to_pyarrow()


def _shards(events: ir.Table, events_a_shard: int) -> Iterator[ir.Table]:
    """The events of runs of customers, in order of customer_id."""
    if events.count().to_pyarrow().as_py() <= events_a_shard:
        yield events
        return
    customers = events.group_by("customer_id").aggregate(events=events.count()).order_by("customer_id").to_pyarrow()
    shard = np.cumsum(customers["events"].to_numpy()) // events_a_shard
    starts = np.flatnonzero(np.diff(shard, prepend=-1))
    firsts = customers["customer_id"].take(starts).to_pylist()
    for first, following in zip(firsts, [*firsts[1:], None], strict=True):
        part = events.filter(events.customer_id >= first)
        yield part if following is None else part.filter(part.customer_id < following)


def _assembled(
    parts: list[Part],
    alone: pa.Table,
    own: pa.Table,
    histories: Histories,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled: bool,
) -> Dataset:
    """The dataset from the shards' examples and those set apart."""
    shared = pa.concat_arrays(histories.customers)
    strangers = pc.unique(alone["customer_id"].filter(pc.is_null(pc.index_in(alone["customer_id"], shared))))
    customers = pa.concat_arrays([shared, strangers.cast(shared.type)])
    rank = np.empty(len(customers), np.int64)
    rank[pc.sort_indices(customers).to_numpy()] = np.arange(len(customers))
    moments = np.array([cutoff // timedelta(microseconds=1) for cutoff in (each - EPOCH for each in cutoffs)], np.int64)
    customer = np.concatenate(
        [*(_index(part.customers, shared)[part.customer] for part in parts), _index(alone["customer_id"], customers)]
    )
    cutoff = np.concatenate([*(moments[part.cutoff] for part in parts), _microseconds(alone["cutoff"])])
    order = np.lexsort((rank[customer], cutoff))

    def column(name: str) -> np.ndarray:
        return np.concatenate([*(part.columns.pop(name) for part in parts), _floats(alone[name])])[order]

    pointer = customer.copy()
    # Both are in order of (cutoff, customer_id), so the examples without a share meet their own histories in turn.
    unshared = len(customer) - len(alone) + np.flatnonzero(~np.asarray(alone["shares"], bool))
    pointer[unshared] = len(shared) + np.arange(len(histories.add(own, ("cutoff", "customer_id"))))
    length = np.concatenate([*(part.length for part in parts), np.asarray(alone["length"], np.int64)])
    found = None
    if labelled:
        kinds = [[column(f"{kind}_{days}") for days in question.horizons] for kind in ("churn", "purchases", "spend")]
        found = Labels(*(np.column_stack(columns) for columns in kinds))
    names = list(definitions(named(attributes, "numeric"), named(attributes, "categorical")))
    values = np.empty((len(names), len(order)))
    for row, name in zip(values, names, strict=True):
        row[:] = column(name)
    return Dataset(
        horizons=question.horizons,
        customer_id=np.asarray(customers.to_pylist(), dtype=object)[customer[order]],
        cutoff=cutoff[order],
        aggregates=pd.DataFrame(values.T, columns=names, copy=False),
        sequences=histories.sequences(pointer[order], length[order]),
        labels=found,
    )


def _without(part: Part, apart: pa.Table, cutoffs: Sequence[datetime]) -> Part:
    """`part` without the examples in `apart`."""
    if apart.num_rows == 0:
        return part
    place = _index(apart["customer_id"], part.customers)
    number = {cutoff: number for number, cutoff in enumerate(cutoffs)}
    when = np.array([number[_in_utc(moment)] for moment in apart["cutoff"].to_pylist()])
    gone = place[place >= 0] * len(cutoffs) + when[place >= 0]
    kept = ~np.isin(part.customer * len(cutoffs) + part.cutoff, gone)
    return replace(
        part,
        customer=part.customer[kept],
        cutoff=part.cutoff[kept],
        length=part.length[kept],
        columns={name: values[kept] for name, values in part.columns.items()},
    )


def _index(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> np.ndarray:
    """The places of `values` in `among`, -1 where they are not."""
    return np.asarray(pc.index_in(values, among).cast(pa.int64()).fill_null(-1))


def _microseconds(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(TIME).cast(pa.int64()))


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan))
