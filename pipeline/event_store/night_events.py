"""What the event store holds for one cutoff, as carried state asks for it: a night's rows, whose past they change, and
the current events of some customers.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dataset import Integers
from features.question import Question
from pipeline.event_store.objects import Among, Between, StoredObject
from pipeline.event_store.ordered import ids, in_order, read
from pipeline.event_store.revisions import superseding_sql
from pipeline.event_store.store import TIME, EventStore, corrections
from pipeline.runtime.engine import literal, session
from pipeline.runtime.nights import midnight
from pipeline.runtime.paths import StateFolder

THREADS = os.cpu_count() or 1
SAMPLED = 64  # one row of so many tells how customers lie among the rows


class NightEvents:
    """`cutoff` is that of a loaded night. Rows are current if no later row of their event id was known by `cutoff`,
    they delete nothing and the question does not exclude them. Some may happen at or after the cutoff.
    """

    def __init__(self, store: EventStore, question: Question, cutoff: datetime, state: StateFolder) -> None:
        self._state, self._lock, self.cutoff = state, Lock(), cutoff  # shards are made side by side
        self._store, self._files = store, store.files(cutoff)
        self.schema = schema(store)
        self._excluded, self._objects = _excluded(question, store), dict[Path, StoredObject]()
        self._known = f"known_time <= timestamptz '{cutoff.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

    @cached_property
    def _corrected(self) -> list[Path]:
        """The objects that correct or delete what was said before."""
        return _correcting(self._files)

    def since(self, earlier: datetime, with_ids: bool) -> pa.Table:
        """The rows of the nights in `(earlier, cutoff]` that delete nothing, in order; corrected ones too. Ids are
        there `with_ids`, else only at or after the cutoff.
        """
        objects = self._objects_of(self._nights_after(earlier))
        if not objects:
            return self.schema.empty_table()
        return self._ordered(objects, Between(), {}, with_ids, THREADS).cast(self.schema)

    def changed(self, earlier: datetime) -> pa.Array:
        """The customers of whom a row of the nights in `(earlier, cutoff]` corrects or deletes what was said before,
        and those of whom it was said.
        """
        files = _correcting(self._nights_after(earlier))
        if not files:
            return pa.array([], pa.string())
        found = self._sql(
            f"with ids as (select distinct event_id from {self._read(files)}), "
            f"told as (select event_id, customer_id, count(*) over (partition by event_id) as times "
            f"from {self._read(self._files)} semi join ids using (event_id) where {self._known}) "
            "select distinct customer_id from told where times > 1 order by 1"
        )
        return pc.cast(found["customer_id"], pa.string()).combine_chunks()

    def of_customers(self, customers: pa.Array, with_ids: bool = False) -> pa.Table:
        """The current events of `customers`, in order. Ids are there `with_ids`, else only at or after the cutoff."""
        if not len(customers):
            return self.schema.empty_table()
        return self._current(Among(customers), with_ids, THREADS).cast(self.schema)

    def between(self, first: str | None = None, following: str | None = None) -> pa.Table:
        """The current events of the customers in `[first, following)`, None being no end, in order; text as codes.
        Ids are there only at or after the cutoff. On one core: it is one block's of many that are made side by side.
        """
        return self._current(Between(first, following), with_ids=False, threads=1)

    def boundaries(self, events: int) -> list[str]:
        """Customers from each of which to the next there are about `events` rows; the first is not among them."""
        query = (
            f"select customer_id from {self._read(self._files, ', file_row_number = true')} "
            f"where file_row_number % {SAMPLED} = 0 and {self._known} order by 1"
        )
        ids = self._sql(query)["customer_id"]
        every = max(events // SAMPLED, 1)
        at = pa.array(range(every, len(ids) - every // 2, every), pa.int64())
        return sorted(set(ids.take(at).to_pylist()))

    def _current(self, whose: Between | Among, with_ids: bool, threads: int) -> pa.Table:
        return self._ordered(self._objects_of(self._files), whose, self._superseded(whose), with_ids, threads)

    def _ordered(
        self,
        objects: Sequence[StoredObject],
        whose: Between | Among,
        left_out: Mapping[int, Integers],
        with_ids: bool,
        threads: int,
    ) -> pa.Table:
        columns = [name for name in self.schema.names if name != "event_id"]
        rows = in_order(objects, read(objects, whose, columns, self.cutoff, self._excluded, left_out, threads))
        later = pc.greater_equal(rows.table["event_time"], pa.scalar(self.cutoff, TIME)).to_numpy()
        wanted = np.flatnonzero(later | with_ids)
        place = np.zeros(len(later), np.int64)
        place[wanted] = np.arange(len(wanted))
        found = ids(objects, rows, wanted).take(pa.array(place, mask=~(later | with_ids)))
        return rows.table.add_column(self.schema.names.index("event_id"), "event_id", found)

    def _superseded(self, whose: Between | Among) -> dict[int, Integers]:
        """The rows that a later one of their event id replaces: their numbers, by the place of their object."""
        if not self._corrected:
            return {}
        files = pa.table({"filename": [str(file) for file in self._files], "object": range(len(self._files))})
        told = "event_id, known_time, deleted, customer_id, filename, file_row_number"
        options = ", file_row_number = true, filename = true"
        own, theirs = {"objects": files}, _condition(whose)
        if isinstance(whose, Among):
            own["asked"] = pa.table({"customer_id": whose.customers})
        # What replaces a row may be another customer's, and lies in an object that corrects.
        found = self._sql(
            f"with ids as (select distinct event_id from {self._read(self._corrected)} where {self._known}), "
            f"own as (select {told} from {self._read(self._files, options)} semi join ids using (event_id) "
            f"where {self._known} and {theirs}), "
            f"others as (select {told} from {self._read(self._corrected, options)} "
            f"semi join own using (event_id) where {self._known} and not ({theirs})), "
            "revisions as (select * from own union all select * from others) "
            f"select object, file_row_number from ({superseding_sql('revisions')}) join objects using (filename) "
            "where superseded_time is not null",
            own,
        )
        place, number = (found[name].to_numpy() for name in ("object", "file_row_number"))
        return {one: np.sort(number[place == one]) for one in np.unique(place).tolist()}

    def _sql(self, query: str, tables: Mapping[str, pa.Table] = MappingProxyType({})) -> pa.Table:
        """What the engine, which most nights need not be started for, finds among the store's objects and `tables`."""
        with self._lock, session(self._state) as connection:
            for name, table in tables.items():
                connection.register(name, table)
            return connection.sql(query).to_arrow_table()

    def _objects_of(self, files: Sequence[Path]) -> list[StoredObject]:
        with self._lock:
            for file in files:
                if file not in self._objects:
                    self._store.require_columns(file)
                    self._objects[file] = StoredObject(file)
        return [self._objects[file] for file in files]

    def _read(self, files: Sequence[Path], options: str = "") -> str:
        """A relation of the rows of `files`, of which no footer is read before it is asked for."""
        for file in files:
            self._store.require_columns(file)
        return f"read_parquet([{', '.join(literal(file) for file in files)}]{options})"

    def _nights_after(self, earlier: datetime) -> list[Path]:
        return [file for file in self._files if midnight(date.fromisoformat(file.stem)) > earlier]


def _excluded(question: Question, store: EventStore) -> dict[str, Sequence[str]]:
    """The values that `question` excludes, by column, as `features.examples.included` has it."""
    told = {"customer_id": question.exclude_customers, "event_type": question.exclude_types, **question.exclude_values}
    for name in told:
        if name not in store.schema.names:
            raise ValueError(f"question.exclude_values names {name!r}, which is no attribute of the events")
    return {name: values for name, values in told.items() if values}


def _condition(whose: Between | Among) -> str:
    """As SQL, where the list of customers is the table `asked`."""
    if isinstance(whose, Among):
        return "customer_id in (select customer_id from asked)"
    ends = [("customer_id >= ", whose.first), ("customer_id < ", whose.following)]
    return " and ".join(f"{end}{literal(text)}" for end, text in ends if text is not None) or "true"


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


def split_at(events: pa.Table, cutoff: datetime) -> tuple[pa.Table, pa.Table]:
    """The events before `cutoff`, and those at or after it."""
    happened = pc.less(events["event_time"], pa.scalar(cutoff, TIME))
    if pc.all(happened, min_count=0).as_py():
        return events, events.slice(0, 0)
    return events.filter(happened), events.filter(pc.invert(happened))


def _correcting(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if corrections(file) != 0]


def object_digests(store: EventStore, cutoff: datetime) -> dict[str, str]:
    """The store's objects that `cutoff` knows, by score date, each with a digest of what it holds."""
    return {file.stem: object_digest(file) for file in store.files(cutoff)}


def object_digest(file: Path) -> str:
    """Of the footer: it tells size, place and ends of every column in the object."""
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        length = int.from_bytes(opened.read(4), "little")
        opened.seek(-8 - length, 2)
        return hashlib.blake2b(opened.read(length), digest_size=16).hexdigest()
