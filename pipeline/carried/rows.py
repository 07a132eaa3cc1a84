"""Rows of the store's objects, read with Arrow: of the row groups that can hold a customer who is asked for, and of the
columns that are asked for, alone. Text comes as codes into dictionaries, as the objects keep it.

What tells a row from all others is its number in its object, so that no event id is read to leave out a corrected row,
nor to put rows in order: each object is in order, and only where two of them tell of one instant do ids decide.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.dataset import Integers
from pipeline.store.event_store import TIME


class Whose(Protocol):
    """Customers who are asked for."""

    def may_lie_in(self, smallest: str, greatest: str) -> bool: ...
    def are(self, customers: pa.Array) -> pa.BooleanArray: ...


@dataclass(frozen=True)
class Between:
    """The customers in `[first, following)`, None being no end."""

    first: str | None = None
    following: str | None = None

    def may_lie_in(self, smallest: str, greatest: str) -> bool:
        return (self.first is None or greatest >= self.first) and (self.following is None or smallest < self.following)

    def are(self, customers: pa.Array) -> pa.BooleanArray:
        found = pa.repeat(True, len(customers))
        if self.first is not None:
            found = pc.and_(found, pc.greater_equal(customers, self.first))
        return found if self.following is None else pc.and_(found, pc.less(customers, self.following))


class Among:
    """The customers of a list."""

    def __init__(self, customers: pa.Array) -> None:
        self.customers, self._ascending = customers, sorted(customers.to_pylist())

    def may_lie_in(self, smallest: str, greatest: str) -> bool:
        return bisect_left(self._ascending, smallest) < bisect_left(self._ascending, greatest + "\0")

    def are(self, customers: pa.Array) -> pa.BooleanArray:
        return pc.is_in(customers, self.customers)


@dataclass(frozen=True)
class Rows:
    """`table`, and of each of its rows the object, as a place in the list of objects, and the number of the row there.
    They come object by object.
    """

    table: pa.Table
    object: Integers
    number: Integers


@dataclass(frozen=True)
class Object:
    """One of the store's."""

    file: Path

    @cached_property
    def _footer(self) -> pq.FileMetaData:
        return pq.read_metadata(self.file)

    @cached_property
    def _groups(self) -> Integers:
        """The numbers of the row at which each row group begins, and of all rows."""
        sizes = [self._footer.row_group(number).num_rows for number in range(self._footer.num_row_groups)]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def _ends(self, column: str) -> list[tuple[Any, Any] | None]:
        """The smallest and the greatest value of each row group, None where the object does not say."""
        at, found = self._footer.schema.names.index(column), []
        for number in range(self._footer.num_row_groups):
            told = self._footer.row_group(number).column(at).statistics
            found.append((told.min, told.max) if told is not None and told.has_min_max else None)
        return found

    @cached_property
    def _customers(self) -> list[tuple[Any, Any] | None]:
        return self._ends("customer_id")

    @cached_property
    def _deletes(self) -> bool:
        return any(ends is None or ends[1] for ends in self._ends("deleted"))

    @cached_property
    def _known(self) -> datetime | None:
        """When the last of it was known, None where the object does not say."""
        ends = self._ends("known_time")
        told = [each[1] for each in ends if each is not None]
        return max(told) if told and len(told) == len(ends) else None

    def read(
        self, whose: Whose, columns: Sequence[str], cutoff: datetime, excluded: Mapping[str, Sequence[str]]
    ) -> tuple[pa.Table, Integers]:
        """`columns` of the rows of `whose` that were known by `cutoff`, delete nothing and have none of the values
        `excluded`, and their numbers.
        """
        groups = [number for number, ends in enumerate(self._customers) if ends is None or whose.may_lie_in(*ends)]
        asks = [*columns, *(name for name in excluded if name not in columns)]
        if self._deletes:
            asks.append("deleted")
        if knows_later := self._known is None or self._known > cutoff:
            asks.append("known_time")
        table = self._columns(groups, asks)
        begins, sizes = self._groups[groups], np.diff(self._groups)[groups]
        numbers = np.arange(len(table)) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
        kept = _by_value(table["customer_id"], whose.are)
        for name, values in excluded.items():
            kept &= ~_by_value(table[name], partial(_is_in, values=values))
        if self._deletes:
            kept &= np.asarray(pc.equal(table["deleted"], False).fill_null(False))
        if knows_later:
            kept &= np.asarray(pc.less_equal(table["known_time"], pa.scalar(cutoff, TIME)).fill_null(False))
        return _compact(_only(table.select(columns), kept)), numbers[kept]

    def ids(self, numbers: Integers) -> pa.Array:
        """The event ids of the rows `numbers`, which are ascending."""
        within = np.searchsorted(self._groups, numbers, side="right") - 1
        groups, rank = np.unique(within, return_inverse=True)
        sizes = np.diff(self._groups)[groups]
        begins = self._groups[groups] - (np.cumsum(sizes) - sizes)
        held = self._columns(groups.tolist(), ["event_id"])["event_id"]
        return held.take(pa.array(numbers - begins[rank])).combine_chunks()

    def _columns(self, groups: list[int], names: Sequence[str]) -> pa.Table:
        schema = self._footer.schema.to_arrow_schema()
        texts = [name for name in names if schema.field(name).type == pa.string() and name != "event_id"]
        with pq.ParquetFile(self.file, metadata=self._footer, read_dictionary=texts) as file:
            return file.read_row_groups(groups, columns=list(names), use_threads=False).select(list(names))


def read(
    objects: Sequence[Object],
    whose: Whose,
    columns: Sequence[str],
    cutoff: datetime,
    excluded: Mapping[str, Sequence[str]],
    left_out: Mapping[int, Integers],
) -> Rows:
    """`Object.read` of all `objects`, without the rows `left_out` (numbers by the place of their object)."""
    tables, places, numbers = [], [], []
    for place, one in enumerate(objects):
        table, own = one.read(whose, columns, cutoff, excluded)
        if place in left_out:
            kept = ~np.isin(own, left_out[place])
            table, own = _only(table, kept), own[kept]
        tables.append(table)
        places.append(np.full(len(own), place))
        numbers.append(own)
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return Rows(table, np.concatenate(places), np.concatenate(numbers))


def ids(objects: Sequence[Object], rows: Rows, at: Integers) -> pa.Array:
    """The event ids of the rows at `at`."""
    order = np.lexsort((rows.number[at], rows.object[at]))
    sorted_at = at[order]
    held = [
        objects[place].ids(rows.number[sorted_at[rows.object[sorted_at] == place]])
        for place in np.unique(rows.object[sorted_at]).tolist()
    ]
    found = pa.concat_arrays([pa.array([], pa.string()), *held])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return found.take(pa.array(back))


def in_order(objects: Sequence[Object], rows: Rows) -> Rows:
    """`rows` in the order of customer_id, event_time, event_id; the customers' dictionary ascends. Runs of one
    customer's are put together, and only the customers to whom something came late are sorted.
    """
    held = rows.table["customer_id"].combine_chunks()
    by_id = pc.sort_indices(held.dictionary)
    rank = np.empty(len(by_id), np.int32)
    rank[by_id.to_numpy()] = np.arange(len(rank), dtype=np.int32)
    codes, time = rank[held.indices.to_numpy()], np.asarray(rows.table["event_time"].cast(pa.int64()))
    order = np.argsort(codes, kind="stable")
    customer, time = codes[order], time[order]
    same = customer[1:] == customer[:-1]
    late = np.zeros(len(rank), bool)
    late[customer[1:][same & (time[1:] < time[:-1])]] = True
    theirs = np.flatnonzero(late[customer])
    sorted_theirs = theirs[np.lexsort((time[theirs], customer[theirs]))]
    order[theirs], time[theirs] = order[sorted_theirs], time[sorted_theirs]
    # In one object rows of one instant are in order already.
    equal = same & (time[1:] == time[:-1])
    two = np.flatnonzero(equal & (rows.object[order[1:]] != rows.object[order[:-1]]))
    if len(two):
        instant = np.cumsum(np.append(True, ~equal))
        tied = np.flatnonzero(np.isin(instant, instant[two]))
        keys = pa.table({"instant": instant[tied], "id": ids(objects, rows, order[tied])})
        order[tied] = order[tied[pc.sort_indices(keys, [("instant", "ascending"), ("id", "ascending")]).to_numpy()]]
    ascending = pa.DictionaryArray.from_arrays(pa.array(codes), held.dictionary.take(by_id))
    place = rows.table.column_names.index("customer_id")
    table = rows.table.set_column(place, rows.table.schema.field("customer_id"), ascending)
    if (np.diff(order) != 1).any():
        table = table.take(pa.array(order))
    return Rows(table.combine_chunks(), rows.object[order], rows.number[order])


def _by_value(column: pa.ChunkedArray, told: Any) -> NDArray[np.bool_]:
    """What `told` says of each value, False of null. Of codes it is asked once a value of their dictionary."""
    if not pa.types.is_dictionary(column.type):
        return np.asarray(told(column).fill_null(False), bool)
    parts = [told(part.dictionary).take(part.indices).fill_null(False) for part in column.chunks]
    return np.asarray(pa.chunked_array(parts, pa.bool_()), bool)


def _is_in(held: pa.Array, values: Sequence[str]) -> pa.BooleanArray:
    return pc.is_in(held, pa.array(values, pa.string()).cast(held.type))


def _compact(table: pa.Table) -> pa.Table:
    """The same with no more customers in its dictionary than it has rows: putting dictionaries together costs more than
    a few rows.
    """
    column, at = table["customer_id"], table.column_names.index("customer_id")
    if sum(len(part.dictionary) for part in column.chunks) <= len(table):
        return table
    return table.set_column(at, "customer_id", column.cast(pa.string()).combine_chunks().dictionary_encode())


def _only(table: pa.Table, kept: NDArray[np.bool_]) -> pa.Table:
    """The rows that are `kept`; not copied where they follow each other."""
    there = np.flatnonzero(kept)
    if len(there) and there[-1] - there[0] + 1 == len(there):
        return table.slice(there[0], len(there))
    return table.filter(pa.array(kept))
