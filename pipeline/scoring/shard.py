"""The carried state of a range of customers, and its files: Arrow's, with plain columns."""

from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.running import Running, place
from features.dataset import Integers
from features.sequences.encoding import NEVER
from features.sequences.recent import Recent
from models.recurrent.batches import Floats32
from pipeline.runtime.paths import atomically

KEPT = b"recur.kept"
NO_EVENTS = pa.table({"customer_id": pa.array([], pa.string())})


@dataclass(frozen=True)
class StateShard:
    """Customers in ascending order of their ids, and what their events before a cutoff come to, row by row. Times are
    in microseconds since 1970 in UTC.
    """

    customers: pa.Array
    events: Integers  # how many
    first: Integers  # time of the first
    last: Integers  # time of the last
    states: Floats32  # [customers, width], after the last event; of width 0 where the model has none
    running: Running | None  # the sums, where aggregates or eligibility need them and there was an event
    pending: pa.Table  # known events at or after the cutoff, of newcomers too; without columns where there are none
    recent: Recent | None = None  # the last events, where the model has no state

    @classmethod
    def empty(cls, width: int, pending: pa.Table) -> Self:
        empty = np.zeros(0, np.int64)
        return cls(pa.array([], pa.string()), empty, empty, empty, np.zeros((0, width), np.float32), None, pending)

    def aligned_to(self, customers: pa.Array, reset: pa.Array) -> Self:
        """A copy with a row for each of `customers`, ascending: the others are left out, newcomers and those in `reset`
        have no event yet.
        """
        resets = pc.is_in(self.customers, reset).to_numpy(zero_copy_only=False)
        to = np.where(resets, -1, place(self.customers, customers))
        kept, target = np.flatnonzero(to >= 0), to[to >= 0]

        def column(values: Integers, initial: int) -> Integers:
            aligned = np.full(len(customers), initial, np.int64)
            aligned[target] = values[kept]
            return aligned

        states = np.zeros((len(customers), self.states.shape[1]), np.float32)
        states[target] = self.states[kept]
        return replace(
            self,
            customers=customers,
            events=column(self.events, 0),
            first=column(self.first, NEVER),
            last=column(self.last, NEVER),
            states=states,
            running=self.running and self.running.moved(to),
            recent=self.recent and self.recent.moved(to),
        )

    def reset(self, rows: Integers) -> Self:
        """A copy in which the customers at `rows` have no event yet. It may be written to."""
        events, first, last, states = self.events.copy(), self.first.copy(), self.last.copy(), self.states.copy()
        events[rows], first[rows], last[rows], states[rows] = 0, NEVER, NEVER, 0
        to = np.arange(len(self.customers))
        to[rows] = -1
        running = self.running and (self.running.moved(to) if len(rows) else self.running)
        return replace(self, events=events, first=first, last=last, states=states, running=running)

    def write(self, folder: Path, number: int) -> None:
        """The customers' file comes last: a shard is complete when it is there."""
        if self.running is not None:
            days = {name: pa.array(column) for name, column in self.running.days.items()}
            _write(_file(folder, number, "days"), pa.table(days), "lz4")
            for attribute, table in enumerate(self.running.seen.values()):
                _write(_file(folder, number, f"seen.{attribute}"), table, "lz4")
        if self.recent is not None:
            recent = pa.table({"customer": pa.array(self.recent.customer), "time": pa.array(self.recent.time)})
            kept = {KEPT: str(self.recent.kept)}
            _write(_file(folder, number, "recent"), recent.replace_schema_metadata(kept), "lz4")
        if len(self.pending):
            _write(_file(folder, number, "pending"), self.pending)
        else:
            _file(folder, number, "pending").unlink(missing_ok=True)
        columns = {"customer_id": self.customers}
        if width := self.states.shape[1]:
            columns["state"] = pa.FixedSizeListArray.from_arrays(pa.array(self.states.ravel()), width)
        columns |= {"events": pa.array(self.events), "first": pa.array(self.first), "last": pa.array(self.last)}
        _write(_file(folder, number, "customers"), pa.table(columns))

    @classmethod
    def read(cls, folder: Path, number: int, categorical: list[str] | None) -> Self:
        """`categorical` names the attributes whose values are kept, in their order; None: without sums and recent."""
        table = _read(_file(folder, number, "customers"))
        running = recent = None
        if categorical is not None:
            days = _read(_file(folder, number, "days"))
            seen = {
                name: _read(_file(folder, number, f"seen.{attribute}")) for attribute, name in enumerate(categorical)
            }
            running = Running({name: days[name].to_numpy() for name in days.column_names}, seen)
            if (file := _file(folder, number, "recent")).exists():
                times = _read(file)
                kept = int(times.schema.metadata[KEPT])
                recent = Recent(times["customer"].to_numpy(), times["time"].to_numpy(), kept)
        states = np.zeros((len(table), 0), np.float32)
        if "state" in table.column_names:
            lists = _as_array(table["state"])
            states = lists.values.to_numpy().reshape(len(lists), lists.type.list_size)
        return cls(
            customers=_as_array(table["customer_id"]),
            events=table["events"].to_numpy(),
            first=table["first"].to_numpy(),
            last=table["last"].to_numpy(),
            states=states,
            running=running,
            pending=_read(pending) if (pending := _file(folder, number, "pending")).exists() else NO_EVENTS,
            recent=recent,
        )

    @staticmethod
    def is_complete(folder: Path, number: int) -> bool:
        return _file(folder, number, "customers").exists()

    @staticmethod
    def has_sums(folder: Path, number: int) -> bool:
        return _file(folder, number, "days").exists()


def split_by_customer(table: pa.Table, starts: list[str]) -> list[pa.Table]:
    """The rows of a table in order of customer_id that lie before the first of `starts`, from it to the next, ..."""
    ids = table["customer_id"]
    ends = [bisect_left(ids, start, key=lambda scalar: scalar.as_py()) for start in starts]
    return [table.slice(begin, end - begin) for begin, end in zip([0, *ends], [*ends, len(table)], strict=True)]


def _file(folder: Path, number: int, kind: str) -> Path:
    return folder / f"{number:04d}.{kind}.arrow"


def _write(path: Path, table: pa.Table, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with atomically(path) as file, pa.ipc.new_file(str(file), table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _as_array(column: pa.ChunkedArray) -> pa.Array:
    """Not copied where it is one chunk: it stays the file's, mapped."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
