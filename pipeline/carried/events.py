"""What the event store holds for one cutoff, as carried state asks for it: a night's rows, whose past they change, and
the current events of some customers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.question import Question
from features.sequences import starts_of_runs
from pipeline.engine import literal, quoted
from pipeline.nights import midnight
from pipeline.store.event_store import ORDER, TIME, EventStore, corrections

SAMPLED = 64  # one row of so many tells how customers lie among the rows
Objects = Mapping[str, str]


class Events:
    """`cutoff` is that of a loaded night. Rows are current if no later row of their event id was known by `cutoff`,
    they delete nothing and `question` does not exclude them. Some may happen at or after the cutoff.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, store: EventStore, cutoff: datetime, question: Question
    ) -> None:
        self._connection, self._asking, self.cutoff = connection, Lock(), cutoff  # blocks are made side by side
        self._store, self._files = store, store.files(cutoff)
        self.schema = schema(store)
        self._included = _included(question, store)
        self._known = f"known_time <= timestamptz '{cutoff.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

    @cached_property
    def _corrected(self) -> list[Path]:
        """The objects that correct or delete what was said before."""
        return _correcting(self._files)

    def since(self, earlier: datetime) -> pa.Table:
        """The rows of the nights in `(earlier, cutoff]` that delete nothing, in order; corrected ones too."""
        files = self._nights_after(earlier)
        if not files:
            return self.schema.empty_table()
        return self._asked(f"select {self._own()} from {self._read(files)} where {self._known} and {self._included}")

    def changed(self, earlier: datetime) -> pa.Array:
        """The customers of whom a row of the nights in `(earlier, cutoff]` corrects or deletes what was said before,
        and those of whom it was said.
        """
        files = _correcting(self._nights_after(earlier))
        if not files:
            return pa.array([], pa.string())
        found = self._connection.sql(
            f"with ids as (select distinct event_id from {self._read(files)}), "
            f"told as (select event_id, customer_id, count(*) over (partition by event_id) as times "
            f"from {self._read(self._files)} semi join ids using (event_id) where {self._known}) "
            "select distinct customer_id from told where times > 1 order by 1"
        )
        return pc.cast(found.to_arrow_table()["customer_id"], pa.string()).combine_chunks()

    def of_customers(self, customers: pa.Array) -> pa.Table:
        """The current events of `customers`, in order."""
        if not len(customers):
            return self.schema.empty_table()
        self._connection.register("asked", pa.table({"customer_id": customers}))
        return self._current("customer_id in (select customer_id from asked)")

    def between(self, first: str | None, following: str | None) -> pa.Table:
        """The current events of the customers in `[first, following)`, None being no end, in order."""
        ends = [("customer_id >= ", first), ("customer_id < ", following)]
        return self._current(" and ".join(f"{end}{literal(text)}" for end, text in ends if text is not None) or "true")

    def boundaries(self, events: int) -> list[str]:
        """Customers from each of which to the next there are about `events` rows; the first is not among them."""
        query = (
            f"select customer_id from {self._read(self._files, ', file_row_number = true')} "
            f"where file_row_number % {SAMPLED} = 0 and {self._known} order by 1"
        )
        ids = self._connection.sql(query).to_arrow_table()["customer_id"]
        every = max(events // SAMPLED, 1)
        at = pa.array(range(every, len(ids) - every // 2, every), pa.int64())
        return sorted(set(ids.take(at).to_pylist()))

    def _current(self, whose: str) -> pa.Table:
        columns, own = self._own(), f"from {self._read(self._files)} where {self._known} and {whose}"
        if not self._corrected:
            return self._asked(f"select {columns} {own} and {self._included}")
        # What replaces a row may be another customer's, and lies in an object that corrects.
        return self._asked(
            f"with own as (select *, true as theirs {own}), "
            f"others as (select *, false as theirs from {self._read(self._corrected)} semi join own using (event_id) "
            f"where {self._known} and not ({whose})), "
            "told as (select *, lead(known_time) over (partition by event_id order by known_time, deleted) as replaced "
            "from (select * from own union all by name select * from others)) "
            f"select {columns} from told where replaced is null and theirs and {self._included}"
        )

    def _asked(self, query: str) -> pa.Table:
        with self._asking:
            found = self._connection.sql(query).to_arrow_table()
        return in_order(found.cast(self.schema).combine_chunks())

    def _own(self) -> str:
        return ", ".join(quoted(name) for name in self.schema.names)

    def _read(self, files: Sequence[Path], options: str = "") -> str:
        """A relation of the rows of `files`, of which no footer is read before it is asked for."""
        for file in files:
            self._store.require_columns(file)
        return f"read_parquet([{', '.join(literal(file) for file in files)}]{options})"

    def _nights_after(self, earlier: datetime) -> list[Path]:
        return [file for file in self._files if midnight(date.fromisoformat(file.stem)) > earlier]


def _included(question: Question, store: EventStore) -> str:
    """What deletes nothing and is not excluded by `question`, as `features.examples.included` has it."""
    excluded = {"customer_id": question.exclude_customers, "event_type": question.exclude_types}
    kept = ["not deleted"]
    for name, values in {**excluded, **question.exclude_values}.items():
        if name not in store.schema.names:
            raise ValueError(f"question.exclude_values names {name!r}, which is no attribute of the events")
        if values:
            listed = ", ".join(literal(value) for value in values)
            kept.append(f"not coalesce({quoted(name)} in ({listed}), false)")
    return " and ".join(kept)


def schema(store: EventStore) -> pa.Schema:
    """The columns of an event that is known to be current."""
    return pa.schema([field for field in store.schema if field.name not in ("known_time", "deleted")])


def as_revisions(events: pa.Table, cutoff: datetime) -> pa.Table:
    """Current events in the form of `EventStore.as_of`, as if all were known at `cutoff`."""
    columns = {
        "known_time": pa.repeat(pa.scalar(cutoff, TIME), len(events)),
        "deleted": pa.repeat(False, len(events)),
        "superseded_time": pa.nulls(len(events), TIME),
    }
    for name, values in columns.items():
        events = events.append_column(name, values)
    return events


def in_order(events: pa.Table) -> pa.Table:
    """`events` in the order of customer_id, event_time, event_id. They come object by object, each in order, so that
    runs of one customer's are put together, and only the customers to whom something came late are sorted.
    """
    starts = starts_of_runs(events, ("customer_id",))
    runs = pc.dictionary_encode(events["customer_id"].combine_chunks().take(pa.array(starts)))
    rank = np.empty(len(runs.dictionary), np.int64)
    rank[pc.sort_indices(runs.dictionary).to_numpy()] = np.arange(len(rank))
    customer = np.repeat(rank[runs.indices.to_numpy()], np.diff(starts, append=len(events)))
    if (np.diff(customer) < 0).any():
        order = np.argsort(customer, kind="stable")
        events, customer = events.take(pa.array(order)).combine_chunks(), customer[order]
    time, ids = np.asarray(events["event_time"].cast(pa.int64())), events["event_id"]
    same = customer[1:] == customer[:-1]
    equal = np.flatnonzero(same & (time[1:] == time[:-1]))
    descends = same & (time[1:] < time[:-1])
    descends[equal] = pc.less(ids.take(pa.array(equal + 1)), ids.take(pa.array(equal))).to_numpy()
    late = np.zeros(len(rank), bool)
    late[customer[1:][descends]] = True
    rows = np.flatnonzero(late[customer])
    if not len(rows):
        return events
    theirs = events.take(pa.array(rows)).sort_by([(name, "ascending") for name in ORDER[:3]])
    place = np.arange(len(events))
    place[rows] = len(events) + np.arange(len(rows))
    return pa.concat_tables([events, theirs]).take(pa.array(place)).combine_chunks()


def before(events: pa.Table, cutoff: datetime) -> tuple[pa.Table, pa.Table]:
    """The events before `cutoff`, and those at or after it."""
    happened = pc.less(events["event_time"], pa.scalar(cutoff, TIME))
    if pc.all(happened, min_count=0).as_py():
        return events, events.slice(0, 0)
    return events.filter(happened), events.filter(pc.invert(happened))


def _correcting(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if corrections(file) != 0]


def objects(store: EventStore, cutoff: datetime) -> dict[str, str]:
    """The store's objects that `cutoff` knows, by score date, each with a digest of what it holds."""
    return {file.stem: digest(file) for file in store.files(cutoff)}


def digest(file: Path) -> str:
    """Of the footer: it tells size, place and ends of every column in the object."""
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        length = int.from_bytes(opened.read(4), "little")
        opened.seek(-8 - length, 2)
        return hashlib.blake2b(opened.read(length), digest_size=16).hexdigest()
