"""One object of the event store, read with Arrow: the row groups that can hold a customer who is asked for, and of
those that do the columns that are asked for. Text comes as codes into dictionaries, as the object keeps it.
"""

from bisect import bisect_left, bisect_right
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
from pipeline.event_store.store import TIME


class Whose(Protocol):
    """Customers who are asked for."""

    def may_lie_in(self, smallest: str, greatest: str) -> bool: ...
    def rows(self, customers: pa.ChunkedArray) -> Integers:
        """The places of theirs in a column of ascending customers, ascending; the column holds codes."""


@dataclass(frozen=True)
class Between:
    """The customers in `[first, following)`, None being no end."""

    first: str | None = None
    following: str | None = None

    def may_lie_in(self, smallest: str, greatest: str) -> bool:
        return (self.first is None or greatest >= self.first) and (self.following is None or smallest < self.following)

    def rows(self, customers: pa.ChunkedArray) -> Integers:
        begin = 0 if self.first is None else _before(customers, self.first)
        return np.arange(begin, len(customers) if self.following is None else _before(customers, self.following))


class Among:
    """The customers of a list."""

    def __init__(self, customers: pa.Array) -> None:
        self.customers, self._ascending = customers, sorted(customers.to_pylist())

    def may_lie_in(self, smallest: str, greatest: str) -> bool:
        return bool(self._within(smallest, greatest))

    def rows(self, customers: pa.ChunkedArray) -> Integers:
        return np.flatnonzero(_by_value(customers, lambda held: pc.is_in(held, self.customers)))

    def _within(self, smallest: str, greatest: str) -> list[str]:
        return self._ascending[bisect_left(self._ascending, smallest) : bisect_right(self._ascending, greatest)]


@dataclass(frozen=True)
class StoredObject:
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

    def groups_of(self, whose: Whose) -> list[int]:
        """The row groups that can hold any of theirs."""
        return [number for number, ends in enumerate(self._customers) if ends is None or whose.may_lie_in(*ends)]

    def read(
        self,
        groups: Sequence[int],
        whose: Whose,
        columns: Sequence[str],
        cutoff: datetime,
        excluded: Mapping[str, Sequence[str]],
    ) -> tuple[pa.Table, Integers]:
        """`columns` of the rows of `whose` in these row groups, ascending, that were known by `cutoff`, delete nothing
        and have none of the values `excluded`, and their numbers.
        """
        asks = [*columns, *(name for name in excluded if name not in columns)]
        if self._deletes:
            asks.append("deleted")
        if knows_later := self._known is None or self._known > cutoff:
            asks.append("known_time")
        rest = [name for name in asks if name != "customer_id"]
        with self._opened() as file:
            tables, numbers = [_coded(file.schema_arrow.empty_table().select(columns))], [np.zeros(0, np.int64)]
            # One after the other: what holds nobody who is asked for gives its memory to the next.
            for group in groups:
                held = file.read_row_group(group, ["customer_id"], use_threads=False)
                rows = whose.rows(held["customer_id"])
                if not len(rows):
                    continue
                table = file.read_row_group(group, rest, use_threads=False)
                table = only(table.append_column("customer_id", held["customer_id"]), rows)
                kept = np.ones(len(rows), bool)
                for name, values in excluded.items():
                    kept &= ~_by_value(table[name], partial(_is_in, values=values))
                if self._deletes:
                    kept &= np.asarray(pc.equal(table["deleted"], False).fill_null(False))
                if knows_later:
                    kept &= np.asarray(pc.less_equal(table["known_time"], pa.scalar(cutoff, TIME)).fill_null(False))
                table = table.select(columns)
                tables.append(_coded(table if kept.all() else table.filter(pa.array(kept))))
                numbers.append(self._groups[group] + rows[kept])
        return pa.concat_tables(tables), np.concatenate(numbers)

    def ids(self, numbers: Integers) -> pa.Array:
        """The event ids of the rows `numbers`, which are ascending."""
        within = np.searchsorted(self._groups, numbers, side="right") - 1
        groups, rank = np.unique(within, return_inverse=True)
        sizes = np.diff(self._groups)[groups]
        begins = self._groups[groups] - (np.cumsum(sizes) - sizes)
        with self._opened() as file:
            held = file.read_row_groups(groups.tolist(), ["event_id"], use_threads=False)["event_id"]
        return held.take(pa.array(numbers - begins[rank])).combine_chunks()

    def _opened(self) -> pq.ParquetFile:
        schema = self._footer.schema.to_arrow_schema()
        texts = [field.name for field in schema if field.type == pa.string() and field.name != "event_id"]
        return pq.ParquetFile(self.file, metadata=self._footer, read_dictionary=texts, pre_buffer=False)


def only(table: pa.Table, rows: Integers) -> pa.Table:
    """Its `rows`, ascending; not copied where they follow each other and are most of the table, whose memory they would
    hold.
    """
    if 2 * len(rows) > len(table) and rows[-1] - rows[0] + 1 == len(rows):
        return table.slice(rows[0], len(rows))
    return table.take(pa.array(rows))


def _before(customers: pa.ChunkedArray, one: str) -> int:
    """How many of ascending `customers` come before `one`."""
    return bisect_left(customers, one, key=lambda each: each.as_py())


def _by_value(column: pa.ChunkedArray, told: Any) -> NDArray[np.bool_]:
    """What `told` says of each value, False of null. Of codes it is asked once a value of their dictionary."""
    if not pa.types.is_dictionary(column.type):
        return np.asarray(told(column).fill_null(False), bool)
    parts = [told(part.dictionary).take(part.indices).fill_null(False) for part in column.chunks]
    return np.asarray(pa.chunked_array(parts, pa.bool_()), bool)


def _is_in(held: pa.Array, values: Sequence[str]) -> pa.BooleanArray:
    return pc.is_in(held, pa.array(values, pa.string()).cast(held.type))


def _coded(table: pa.Table) -> pa.Table:
    """The same with customers as codes, and no more of them in the dictionary than there are rows: putting dictionaries
    together costs more than a few rows.
    """
    column, at = table["customer_id"], table.column_names.index("customer_id")
    if pa.types.is_dictionary(column.type):
        if sum(len(part.dictionary) for part in column.chunks) <= len(table):
            return table
        column = column.cast(pa.string())
    return table.set_column(at, "customer_id", column.combine_chunks().dictionary_encode())
