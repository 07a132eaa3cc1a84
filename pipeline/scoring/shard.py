"""The carried state of a run of customers, and its files: Arrow's, with plain columns."""

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
NOTHING = pa.table({"customer_id": pa.array([], pa.string())})


@dataclass(frozen=True)
class Block:
    """Customers in ascending order of their ids, and all that is known of them before a cutoff, row by row. Times are
    in microseconds since 1970 in UTC.
    """

    customers: pa.Array
    events: Integers  # how many
    first: Integers  # time of the first
    last: Integers  # time of the last
    states: Floats32  # [customers, width], after the last; of width 0 where the model has none
    running: Running | None  # where the model reads aggregates, and something was read
    pending: pa.Table  # events of theirs, or of newcomers, at or after the cutoff; without columns where there is none
    recent: Recent | None = None  # where the model has no state that remembers them

    @classmethod
    def empty(cls, width: int, pending: pa.Table) -> Self:
        none = np.zeros(0, np.int64)
        return cls(pa.array([], pa.string()), none, none, none, np.zeros((0, width), np.float32), None, pending)

    def among(self, customers: pa.Array, forgotten: pa.Array) -> Self:
        """The same for `customers`, ascending: nothing is known yet of those who are not here or are `forgotten`, and
        those who are not among them are left out.
        """
        forgets = pc.is_in(self.customers, forgotten).to_numpy(zero_copy_only=False)
        to = np.where(forgets, -1, place(self.customers, customers))
        kept, there = np.flatnonzero(to >= 0), to[to >= 0]

        def column(values: Integers, nothing: int) -> Integers:
            moved = np.full(len(customers), nothing, np.int64)
            moved[there] = values[kept]
            return moved

        states = np.zeros((len(customers), self.states.shape[1]), np.float32)
        states[there] = self.states[kept]
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

    def without(self, rows: Integers) -> Self:
        """The same, as if nothing were known of the customers at `rows` but that they are. Its columns are its own."""
        events, first, last, states = self.events.copy(), self.first.copy(), self.last.copy(), self.states.copy()
        events[rows], first[rows], last[rows], states[rows] = 0, NEVER, NEVER, 0
        to = np.arange(len(self.customers))
        to[rows] = -1
        running = self.running and (self.running.moved(to) if len(rows) else self.running)
        return replace(self, events=events, first=first, last=last, states=states, running=running)

    def write(self, folder: Path, number: int) -> None:
        """The customers' file comes last: a block is whole when it is there."""
        if self.running is not None:
            days = {name: pa.array(column) for name, column in self.running.days.items()}
            _write(folder / f"{number:04d}.days.arrow", pa.table(days), "lz4")
            for at, table in enumerate(self.running.seen.values()):
                _write(folder / f"{number:04d}.seen.{at}.arrow", table, "lz4")
        if self.recent is not None:
            recent = pa.table({"customer": pa.array(self.recent.customer), "time": pa.array(self.recent.time)})
            kept = {KEPT: str(self.recent.kept)}
            _write(folder / f"{number:04d}.recent.arrow", recent.replace_schema_metadata(kept), "lz4")
        if len(self.pending):
            _write(_pending(folder, number), self.pending)
        else:
            _pending(folder, number).unlink(missing_ok=True)
        columns = {"customer_id": self.customers}
        if width := self.states.shape[1]:
            columns["state"] = pa.FixedSizeListArray.from_arrays(pa.array(self.states.ravel()), width)
        columns |= {"events": pa.array(self.events), "first": pa.array(self.first), "last": pa.array(self.last)}
        _write(_customers(folder, number), pa.table(columns))

    @classmethod
    def read(cls, folder: Path, number: int, categorical: list[str] | None) -> Self:
        """`categorical` names the attributes whose values were kept, in their order; None: without sums and recent."""
        table = _read(_customers(folder, number))
        running = recent = None
        if categorical is not None:
            days = _read(folder / f"{number:04d}.days.arrow")
            seen = {name: _read(folder / f"{number:04d}.seen.{at}.arrow") for at, name in enumerate(categorical)}
            running = Running({name: days[name].to_numpy() for name in days.column_names}, seen)
            if (file := folder / f"{number:04d}.recent.arrow").exists():
                last = _read(file)
                kept = int(last.schema.metadata[KEPT])
                recent = Recent(last["customer"].to_numpy(), last["time"].to_numpy(), kept)
        states = np.zeros((len(table), 0), np.float32)
        if "state" in table.column_names:
            held = _whole(table["state"])
            states = held.values.to_numpy().reshape(len(held), held.type.list_size)
        return cls(
            customers=_whole(table["customer_id"]),
            events=table["events"].to_numpy(),
            first=table["first"].to_numpy(),
            last=table["last"].to_numpy(),
            states=states,
            running=running,
            pending=_read(pending) if (pending := _pending(folder, number)).exists() else NOTHING,
            recent=recent,
        )

    @staticmethod
    def is_whole(folder: Path, number: int) -> bool:
        return _customers(folder, number).exists()

    @staticmethod
    def has_sums(folder: Path, number: int) -> bool:
        return (folder / f"{number:04d}.days.arrow").exists()


def slices(table: pa.Table, starts: list[str]) -> list[pa.Table]:
    """The rows of a table in order of customer_id that lie before the first of `starts`, from it to the next, ..."""
    ids = table["customer_id"]
    ends = [bisect_left(ids, start, key=lambda each: each.as_py()) for start in starts]
    return [table.slice(begin, end - begin) for begin, end in zip([0, *ends], [*ends, len(table)], strict=True)]


def _customers(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.customers.arrow"


def _pending(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.pending.arrow"


def _write(path: Path, table: pa.Table, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with atomically(path) as file, pa.ipc.new_file(str(file), table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one, not copied where it is one: it stays the file's, mapped."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
