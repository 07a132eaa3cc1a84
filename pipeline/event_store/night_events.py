"""What scoring reads of the event store at a cutoff: new rows, whose past they change, and current events."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.roles import is_excluded
from features.spec import FeatureSpec
from pipeline.event_store.objects import corrections, scan
from pipeline.event_store.revisions import superseding_sql
from pipeline.event_store.store import TIME, EventStore
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import midnight

SAMPLED = 64  # of so many rows one is read to see how events are spread over customers
LISTED = 1_000  # customers that a query names: the engine then skips row groups that hold none, but is slow with many
ORDER = "order by customer_id, event_time, event_id"


class NightEvents:
    """`cutoff` is that of a loaded night. An event is current if no later revision of it was known by `cutoff`, it is
    not deleted and `spec` does not exclude it. Some happen at or after the cutoff. Several threads may read.
    """

    def __init__(
        self, store: EventStore, spec: FeatureSpec, cutoff: datetime, connection: duckdb.DuckDBPyConnection
    ) -> None:
        # The columns of a current event.
        self.schema = pa.schema([field for field in store.schema if field.name not in ("known_time", "deleted")])
        self._store, self._connection, self._files = store, connection, store.files(cutoff)
        self._columns = ", ".join(quoted(name) for name in self.schema.names)
        self._known = f"known_time <= timestamptz '{cutoff.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
        self.cutoff, self._spec = cutoff, spec

    def since(self, earlier: datetime) -> pa.Table:
        """The rows of the nights in `(earlier, cutoff]` that are not deleted, in order; superseded ones too."""
        files = self._nights_after(earlier)
        if not files:
            return self.schema.empty_table()
        rows = f"select {self._columns} from {self._read(files)} where {self._known} and not deleted {ORDER}"
        return self._included(self._query(rows))

    def changed(self, earlier: datetime) -> pa.Array:
        """Customers of rows in `(earlier, cutoff]` that correct or delete an event, and of its earlier revisions."""
        files = _correcting(self._nights_after(earlier))
        if not files:
            return pa.array([], pa.string())
        customers = self._query(
            f"with ids as (select distinct event_id from {self._read(files)}), "
            f"revisions as (select event_id, customer_id, count(*) over (partition by event_id) as times "
            f"from {self._all} semi join ids using (event_id) where {self._known}) "
            "select distinct customer_id from revisions where times > 1 order by 1"
        )
        return pc.cast(customers["customer_id"], pa.string()).combine_chunks()

    def of_customers(self, customers: pa.Array) -> pa.Table:
        """The current events of `customers`, in order."""
        if not len(customers):
            return self.schema.empty_table()
        if len(customers) <= LISTED:
            return self._current(f"customer_id in ({', '.join(literal(text) for text in customers.to_pylist())})")
        return self._current("customer_id in (select customer_id from customers)", customers)

    def between(self, first: str | None = None, following: str | None = None) -> pa.Table:
        """The current events of the customers in `[first, following)`, None being no end, in order."""
        ends = [("customer_id >= ", first), ("customer_id < ", following)]
        return self._current(" and ".join(f"{end}{literal(text)}" for end, text in ends if text is not None) or "true")

    def boundaries(self, events: int) -> list[str]:
        """Customers from each of which to the next there are about `events` rows; the first is not among them."""
        sample = self._query(
            f"select customer_id from {self._read(self._files, ', file_row_number = true')} "
            f"where file_row_number % {SAMPLED} = 0 and {self._known} order by 1"
        )["customer_id"]
        every = max(events // SAMPLED, 1)
        rows = pa.array(range(every, len(sample) - every // 2, every), pa.int64())
        return sorted(set(sample.take(rows).to_pylist()))

    def _current(self, whose: str, customers: pa.Array | None = None) -> pa.Table:
        """The current events that meet the condition `whose`, which may name a table of `customers`, in order."""
        if not self._corrected:
            rows = f"select {self._columns} from {self._all} where {self._known} and not deleted and {whose} {ORDER}"
            return self._included(self._query(rows, customers))
        # A revision that supersedes one of theirs may be another customer's, and lies in an object that corrects.
        read = f"select * from {self._all} where {self._known} and {whose}"
        rows = (
            f"with ids as (select distinct event_id from {self._read(self._corrected)} where {self._known}), "
            f"others as (select * from {self._read(self._corrected)} where {self._known} and not ({whose}) "
            f"and event_id in (select event_id from ({read}) semi join ids using (event_id))), "
            f"revisions as (select * from ({read}) semi join ids using (event_id) union all select * from others), "
            f"latest as (select * from ({superseding_sql('revisions')}) where superseded_time is null and {whose}) "
            f"select {self._columns} from ({read}) anti join ids using (event_id) where not deleted "
            f"union all select {self._columns} from latest where not deleted {ORDER}"
        )
        return self._included(self._query(rows, customers))

    def _included(self, events: pa.Table) -> pa.Table:
        events = events.cast(self.schema)
        return events.filter(pa.array(~is_excluded(events, self._spec))) if self._spec.excluded else events

    def _query(self, query: str, customers: pa.Array | None = None) -> pa.Table:
        with self._connection.cursor() as cursor:
            if customers is not None:
                cursor.register("customers", pa.table({"customer_id": customers}))
            return cursor.sql(query).to_arrow_table()

    @cached_property
    def _corrected(self) -> list[Path]:
        return _correcting(self._files)

    @cached_property
    def _all(self) -> str:
        return self._read(self._files)

    def _read(self, files: Sequence[Path], options: str = "") -> str:
        """A relation of the rows of `files`. Raises RecurError where one of them cannot be read."""
        for file in files:
            self._store.require_columns(file)
        return scan(files, options)

    def _nights_after(self, earlier: datetime) -> list[Path]:
        return [file for file in self._files if midnight(date.fromisoformat(file.stem)) > earlier]


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
    """The objects that correct or delete events of earlier ones."""
    return [file for file in files if corrections(file) != 0]
