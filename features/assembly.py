"""Datasets put together: a shard's from the examples of both ways, and all shards in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.calendar import WORDS as CALENDAR
from features.aggregates.calendar import calendar
from features.aggregates.comparisons import NUMBERS, compared
from features.aggregates.definitions import definitions, named
from features.aggregates.from_segments import Part
from features.dataset import Dataset, Floats, Integers, Labels, Sequences, texts
from features.question import Question
from features.sequences.histories import Histories, one_code, starts_of_runs

TIME = pa.timestamp("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = ("churn", "purchases", "spend")


@dataclass(frozen=True)
class Apart:
    """Examples that were built event by event, and the events that those see which share no history."""

    examples: pa.Table  # in order of (cutoff, customer_id): the columns of aggregates and labels, `length`, `shares`
    events: pa.Table  # in order of (cutoff, customer_id, event_time, event_id)

    def of_customers(self, first: str | None, following: str | None) -> "Apart":
        """Those of customers in `[first, following)`; None is no bound."""
        tables = []
        for table in (self.examples, self.events):
            if first is not None:
                table = table.filter(pc.greater_equal(table["customer_id"], first))
            if following is not None:
                table = table.filter(pc.less(table["customer_id"], following))
            tables.append(table)
        return Apart(*tables)


def assembled(
    part: Part,
    shared: Histories,
    apart: Apart | None,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled: bool,
) -> Dataset:
    """The examples of `part` and those of `apart`, in order of (cutoff, customer_id). `shared` are the histories of
    `part.customers`, with steps past the last cutoff; who is in no example leaves its own behind.
    """
    moments = np.array([_microsecond(cutoff) for cutoff in cutoffs], np.int64)
    asked = np.zeros(len(part.customers), bool)
    asked[part.customer] = True
    if apart is not None:
        found = _index(apart.examples["customer_id"], part.customers)
        asked[found[found >= 0]] = True
    histories = shared.only(asked, shared.time < moments.max())
    place = np.cumsum(asked) - 1
    customers, customer, cutoff, length = histories.owners, place[part.customer], moments[part.cutoff], part.length
    pointer, columns = customer, dict(part.columns)
    if apart is not None:
        table = apart.examples
        # Whoever is known only by what was deleted since has no shared history.
        strangers = pc.unique(table["customer_id"].filter(pc.is_null(pc.index_in(table["customer_id"], customers))))
        customers = pa.concat_arrays([customers, strangers.cast(customers.type)])
        theirs = _index(table["customer_id"], customers)
        pointer = np.concatenate([pointer, theirs])
        # Both are in order of (cutoff, customer_id), so the examples without a share meet their own histories in turn.
        unshared = len(customer) + np.flatnonzero(~np.asarray(table["shares"], bool))
        pointer[unshared] = len(histories.owners) + np.arange(len(unshared))
        customer = np.concatenate([customer, theirs])
        cutoff = np.concatenate([cutoff, _microseconds(table["cutoff"])])
        length = np.concatenate([length, np.asarray(table["length"], np.int64)])
        columns = {
            name: np.concatenate([values, _texts(table[name]) if values.dtype == object else _floats(table[name])])
            for name, values in columns.items()
        }
        starts = starts_of_runs(apart.events, ("cutoff", "customer_id"))
        owners = apart.events["customer_id"].combine_chunks().take(pa.array(starts))
        histories = histories.then(Histories.of(apart.events, owners, starts, attributes))
    order = _by_cutoff_and_customer(cutoff, customer, customers)
    names = list(definitions(named(attributes, "numeric"), named(attributes, "categorical"), question))
    values = np.empty((len(names), len(customer)))
    for row, name in zip(values, names, strict=True):
        row[:] = columns[name][order]
    found_labels = None
    if labelled:
        churn, purchases, spend = (
            np.column_stack([columns[f"{kind}_{days}"][order] for days in question.horizons]) for kind in KINDS
        )
        found_labels = Labels(churn, purchases, spend)
        if question.next_event:
            types = np.asarray(columns["next_event_type"][order], dtype=object)
            found_labels = replace(
                found_labels, next_event_days=columns["next_event_days"][order], next_event_type=types
            )
    return Dataset(
        horizons=question.horizons,
        customer_id=np.asarray(customers.to_pylist(), dtype=object)[customer[order]],
        cutoff=cutoff[order],
        aggregates=pd.DataFrame(values.T, columns=names, copy=False),
        sequences=histories.sequences(pointer[order], length[order]),
        labels=found_labels,
    )


def together(shards: list[Dataset]) -> Dataset:
    """All shards in one, in order of (cutoff, customer_id); their customers ascend from shard to shard. The list is
    emptied on the way, since all of it twice would be twice the memory.
    """
    if len(shards) == 1:
        return shards.pop()
    order = np.argsort(np.concatenate([shard.cutoff for shard in shards]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first, columns = shards[0], shards[0].aggregates.columns
    values = np.empty((len(columns), len(order)))
    customer_id, cutoff = np.empty(len(order), object), np.empty(len(order), np.int64)
    labels = first.labels and Labels.blank(len(order), first.labels)
    pieces, begin = [], 0
    while shards:
        shard = shards.pop(0)
        where = place[begin : begin + len(shard)]
        customer_id[where], cutoff[where] = shard.customer_id, shard.cutoff
        for row, name in zip(values, columns, strict=True):
            row[where] = shard.aggregates[name].to_numpy()
        if labels is not None and shard.labels is not None:
            labels.put(where, shard.labels)
        pieces.append(shard.sequences)
        begin += len(shard)
    frame = pd.DataFrame(values.T, columns=columns, copy=False)
    return Dataset(first.horizons, customer_id, cutoff, frame, _one_after_the_other(pieces, order), labels)


def _one_after_the_other(pieces: list[Sequences], order: Integers) -> Sequences:
    """The histories of all pieces, and the pointers of their examples in `order`."""
    histories = np.cumsum([0, *(len(piece.offsets) - 1 for piece in pieces)])
    steps = np.cumsum([0, *(piece.offsets[-1] for piece in pieces)])
    inner = [piece.offsets[:-1] + begin for piece, begin in zip(pieces, steps, strict=False)]
    pointers = [piece.history + begin for piece, begin in zip(pieces, histories, strict=False)]
    return Sequences(
        offsets=np.concatenate([*inner, steps[-1:]]),
        event_time=np.concatenate([piece.event_time for piece in pieces]),
        numeric={name: np.concatenate([piece.numeric[name] for piece in pieces]) for name in pieces[0].numeric},
        categorical={name: one_code([piece.categorical[name] for piece in pieces]) for name in pieces[0].categorical},
        history=np.concatenate(pointers)[order],
        length=np.concatenate([piece.length for piece in pieces])[order],
    )


def _by_cutoff_and_customer(cutoff: Integers, customer: Integers, customers: pa.Array) -> Integers:
    """The order of examples; `customer` are positions in `customers`."""
    rank = np.empty(len(customers), np.int64)
    rank[pc.sort_indices(customers).to_numpy()] = np.arange(len(customers))
    return np.lexsort((rank[customer], cutoff))


def without(part: Part, apart: pa.Table, cutoffs: Sequence[datetime]) -> Part:
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


def with_comparisons(examples: pa.Table, question: Question) -> pa.Table:
    """The table of `features.aggregates.definitions` with the columns that need no look at an event."""
    columns = compared({name: _floats(examples[name]) for name in NUMBERS})
    if question.calendar:
        days = [calendar(_in_utc(moment)) for moment in examples["cutoff"].to_pylist()]
        columns |= {name: np.array([day[name] for day in days], np.float64) for name in CALENDAR}
    for name, values in columns.items():
        examples = examples.append_column(name, pa.array(values))
    return examples


def _index(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Integers:
    """The places of `values` in `among`, -1 where they are not."""
    return np.asarray(pc.index_in(values, among).cast(pa.int64()).fill_null(-1))


def _microsecond(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _microseconds(column: pa.ChunkedArray) -> Integers:
    return np.asarray(column.cast(TIME).cast(pa.int64()))


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    return texts(column.to_pylist(), np.ones(len(column), bool))


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan))
