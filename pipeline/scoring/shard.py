"""The carried state of a range of customers, and its files: Arrow's, with plain columns."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.carried_sums import CarriedSums
from features.aggregates.sums import LATEST_ACTIVITY, LATEST_END
from features.arrays import Integers
from features.sequences.histories import positions
from features.sequences.recent import Recent
from features.time import MICROSECONDS_A_SECOND, NEVER
from models.recurrent.batches import Floats32
from pipeline.runtime.manifest import sha256
from pipeline.runtime.paths import atomically

KEPT = b"recur.kept"
TIMES = ("first", "last", "active", "ended")
NO_EVENTS = pa.table({"customer_id": pa.array([], pa.string())})


@dataclass(frozen=True)
class StateShard:
    """Customers in ascending order of their ids, and what their events before a cutoff come to, row by row. Times are
    in microseconds since 1970 in UTC, NEVER where there was no such event.
    """

    customers: pa.Array
    events: Integers  # how many
    first: Integers  # time of the first
    last: Integers  # time of the last
    active: Integers  # time of the last that is activity
    ended: Integers  # time of the last that ends a customer
    states: Floats32  # [customers, width], after the last event; of width 0 where the model has none
    sums: CarriedSums | None  # where aggregates need them and there was an event
    pending: pa.Table  # known events at or after the cutoff, of newcomers too; without columns where there are none
    recent: Recent | None = None  # the last events, where the model has no state

    @classmethod
    def empty(cls, width: int, pending: pa.Table) -> Self:
        empty = np.zeros(0, np.int64)
        times = (empty, empty, empty, empty, empty)
        return cls(pa.array([], pa.string()), *times, np.zeros((0, width), np.float32), None, pending)

    def aligned_to(self, customers: pa.Array, reset: pa.Array) -> Self:
        """A copy with rows for just `customers`, ascending; newcomers and those in `reset` have no event yet."""
        resets = pc.is_in(self.customers, reset).to_numpy(zero_copy_only=False)
        to = np.where(resets, -1, positions(self.customers, customers))
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
            active=column(self.active, NEVER),
            ended=column(self.ended, NEVER),
            states=states,
            sums=self.sums and self.sums.moved(to),
            recent=self.recent and self.recent.moved(to),
        )

    def reset(self, rows: Integers) -> Self:
        """A copy in which the customers at `rows` have no event yet. It may be written to."""
        events, states, to = self.events.copy(), self.states.copy(), np.arange(len(self.customers))
        times = {name: getattr(self, name).copy() for name in TIMES}
        events[rows], states[rows], to[rows] = 0, 0, -1
        for column in times.values():
            column[rows] = NEVER
        sums, recent = self.sums, self.recent
        if len(rows):
            sums, recent = sums and sums.moved(to), recent and recent.moved(to)
        return replace(self, events=events, states=states, sums=sums, recent=recent, **times)

    def write(self, folder: Path, number: int) -> None:
        """The digests of its files come last: a shard is complete when they are there."""
        kinds = ["customers"]
        if self.sums is not None:
            days = {name: pa.array(column) for name, column in self.sums.days.items()}
            _write(_file(folder, number, "days"), pa.table(days), "lz4")
            kinds += ["days", *(f"seen.{attribute}" for attribute in range(len(self.sums.seen)))]
            for attribute, table in enumerate(self.sums.seen.values()):
                _write(_file(folder, number, f"seen.{attribute}"), table, "lz4")
        if self.recent is not None:
            recent = pa.table({"customer": pa.array(self.recent.customer), "time": pa.array(self.recent.time)})
            kept = {KEPT: str(self.recent.kept)}
            _write(_file(folder, number, "recent"), recent.replace_schema_metadata(kept), "lz4")
            kinds.append("recent")
        if len(self.pending):
            _write(_file(folder, number, "pending"), self.pending)
            kinds.append("pending")
        else:
            _file(folder, number, "pending").unlink(missing_ok=True)
        columns = {"customer_id": self.customers}
        if width := self.states.shape[1]:
            columns["state"] = pa.FixedSizeListArray.from_arrays(pa.array(self.states.ravel()), width)
        columns |= {name: pa.array(getattr(self, name)) for name in ("events", *TIMES)}
        _write(_file(folder, number, "customers"), pa.table(columns))
        files = [_file(folder, number, kind) for kind in kinds]
        # Not forced to the disk: a seal that is lost with the power costs no more than computing its shard again. A new
        # file, since an erased copy is of hard links.
        _seal(folder, number).unlink(missing_ok=True)
        _seal(folder, number).write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files), "utf-8")

    @classmethod
    def read(cls, folder: Path, number: int, categorical: Sequence[str] | None) -> Self:
        """`categorical` names the attributes whose values are kept, in their order; None: without sums and recent."""
        table = _read(_file(folder, number, "customers"))
        sums = recent = None
        if categorical is not None:
            days = _read(_file(folder, number, "days"))
            seen = {
                name: _read(_file(folder, number, f"seen.{attribute}")) for attribute, name in enumerate(categorical)
            }
            sums = CarriedSums({name: days[name].to_numpy() for name in days.column_names}, seen)
            if (file := _file(folder, number, "recent")).exists():
                times = _read(file)
                kept = int(times.schema.metadata[KEPT])
                recent = Recent(times["customer"].to_numpy(), times["time"].to_numpy(), kept)
        states = np.zeros((len(table), 0), np.float32)
        if "state" in table.column_names:
            lists = _as_array(table["state"])
            states = lists.values.to_numpy().reshape(len(lists), lists.type.list_size)
        columns = {name: table[name].to_numpy() for name in ("events", *TIMES) if name in table.column_names}
        return cls(
            **_with_activity(columns, folder, number),
            customers=_as_array(table["customer_id"]),
            states=states,
            sums=sums,
            pending=_read(pending) if (pending := _file(folder, number, "pending")).exists() else NO_EVENTS,
            recent=recent,
        )

    @staticmethod
    def is_complete(folder: Path, number: int) -> bool:
        """Whether the shard was written to its end and is whole."""
        return _seal(folder, number).exists() and StateShard.damage(folder, number) is None

    @staticmethod
    def damage(folder: Path, number: int) -> str | None:
        """What is wrong with the files of a shard, which are read to their ends; None where nothing is."""
        seal = _seal(folder, number)
        try:
            lines = seal.read_text("utf-8").splitlines()
            described: dict[str, str] = {}
            for line in lines:  # as `sha256sum` writes them
                digest, name = line.split("  ")
                described[name] = digest
            names = {file.name for file in folder.glob(f"{number:04d}.*.arrow")}
            if f"{number:04d}.customers.arrow" not in described or names != described.keys():
                return f"{seal} does not name the files of its shard"
            damaged = [name for name, written in described.items() if sha256(folder / name) != written]
        except (OSError, ValueError):
            return f"{seal} cannot be read"
        return f"{folder / damaged[0]} is damaged: it does not hold what was written" if damaged else None

    @staticmethod
    def has_sums(folder: Path, number: int) -> bool:
        return _file(folder, number, "days").exists()


def _with_activity(columns: dict[str, Any], folder: Path, number: int) -> dict[str, Any]:
    """With the latest activity and end of each customer, which shards written before December 2026 hold in their sums
    where they are not the last event.
    """
    if "active" in columns:
        return columns
    columns |= {"active": columns["last"], "ended": np.full(len(columns["last"]), NEVER)}
    if StateShard.has_sums(folder, number):
        days = _read(_file(folder, number, "days"))
        for name, key in (("active", LATEST_ACTIVITY), ("ended", LATEST_END)):
            if key in days.column_names:
                seconds = days[key].to_numpy()
                there = np.isfinite(seconds)
                columns[name] = np.full(len(columns["last"]), NEVER)
                time = seconds[there].astype(np.int64) * MICROSECONDS_A_SECOND
                np.maximum.at(columns[name], days["customer"].to_numpy()[there], time)
    return columns


def split_by_customer(table: pa.Table, starts: list[str]) -> list[pa.Table]:
    """The rows of a table in order of customer_id that lie before the first of `starts`, from it to the next, ..."""
    ids = table["customer_id"]
    ends = [bisect_left(ids, start, key=lambda scalar: scalar.as_py()) for start in starts]
    return [table.slice(begin, end - begin) for begin, end in zip([0, *ends], [*ends, len(table)], strict=True)]


def _seal(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.sha256"


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
