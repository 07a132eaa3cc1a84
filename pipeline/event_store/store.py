"""The event store: Parquet, one atomic object a night, keyed by known time. Any Parquet reader reads it without recur.

A correction is a new row with the same event id and a later known time, a deletion likewise with `deleted` true;
nothing is overwritten. `as_of(t)` gives exactly what was known at `t`.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.question import Question
from features.roles import is_excluded
from features.spec import FeatureSpec
from pipeline.config.settings import Settings
from pipeline.event_store.objects import (
    CORRECTIONS,
    FREQUENT_VALUES,
    FrequentValues,
    columns_digest,
    corrections,
    describe,
    loaded_nights,
    manifest_of,
    noted_values,
    object_columns,
    object_digest,
    require_whole,
    scan,
    whole,
)
from pipeline.event_store.revisions import superseding_sql
from pipeline.runtime.errors import RecurError
from pipeline.runtime.manifest import Manifest, alone_in
from pipeline.runtime.nights import Night, midnight
from pipeline.runtime.paths import atomically
from pipeline.sources.contract import Kind
from pipeline.sources.factory import open_source

TIME = pa.timestamp("us", "UTC")
ROWS_A_GROUP = 1 << 15  # few, since a customer's history is read by the row groups that hold it
ORDER = ("customer_id", "event_time", "event_id", "known_time")


def event_schema(attributes: Mapping[str, Kind]) -> pa.Schema:
    """The columns of an event as the store keeps them."""
    own = [
        ("event_id", pa.string()),
        ("customer_id", pa.string()),
        ("event_time", TIME),
        ("known_time", TIME),
        ("event_type", pa.string()),
        ("amount", pa.float64()),
        ("quantity", pa.float64()),
        ("deleted", pa.bool_()),
    ]
    return pa.schema(
        [*own, *((name, pa.float64() if kind == "numeric" else pa.string()) for name, kind in attributes.items())]
    )


class EventStore:
    """The objects `<folder>/<score date>.parquet`, their rows in the order of `ORDER`."""

    def __init__(self, folder: Path, attributes: Mapping[str, Kind]) -> None:
        self.folder, self.attributes, self.schema = folder, dict(attributes), event_schema(attributes)

    def nights(self) -> list[date]:
        """The score dates of the loaded nights, ascending."""
        return loaded_nights(self.folder)

    def require_loaded(self, cutoff: datetime) -> None:
        """Raises RecurError where the store does not hold the night that ends at `cutoff`."""
        nights = self.nights()
        if cutoff.date() not in nights:
            extent = f"it holds nights up to {max(nights)}" if nights else "it is empty"
            raise RecurError(f"the event store has no night {cutoff.date()}; {extent}: run `recur ingest` for it first")

    def require_whole(self, but: Night) -> None:
        """Raises RecurError where an object is missing or not as large as it was, that of the night `but` apart."""
        require_whole(self.folder, but.score_date)

    def path(self, night: date) -> Path:
        return self.folder / f"{night.isoformat()}.parquet"

    @property
    def frequent_values(self) -> FrequentValues:
        """Those of the history that was loaded first. An earlier recur noted none."""
        noted = (noted_values(self.path(night)) for night in self.nights())
        return next((values for values in noted if values is not None), {})

    def spec(self, question: Question) -> FeatureSpec:
        """What the question is to the events of the store. Raises ValueError as `Question.spec` does."""
        return question.spec(self.attributes, self.frequent_values)

    def write(
        self,
        night: date,
        events: pa.Table | pa.RecordBatchReader,
        corrections: int | None = None,
        frequent_values: FrequentValues | None = None,
    ) -> None:
        """Writes the object of `night`, all or nothing, in the place of an earlier one.

        `events` have the store's columns and come in the order of `ORDER`. `corrections` is how many of them replace an
        earlier row of their event id (None: not known); where no object has any, `as_of` need not look for them.
        `frequent_values` are noted with the object that is loaded first.
        """
        noted = {} if corrections is None else {CORRECTIONS: str(corrections).encode()}
        if frequent_values is not None:
            noted[FREQUENT_VALUES] = json.dumps(frequent_values).encode()
        path = self.path(night)
        with contextlib.ExitStack() as replaced:
            file = replaced.enter_context(atomically(path))
            with pq.ParquetWriter(file, self.schema.with_metadata(noted), **_form(self.schema)) as writer:
                for group in _groups(events, self.schema):
                    writer.write_table(group)
            entry = describe(file)
            manifest_of(self.folder)  # an earlier recur's store is taken over before it changes
            with alone_in(self.folder):
                manifest = Manifest.read(self.folder) or Manifest(self.folder)
                with manifest.replacing(path.name, entry):
                    replaced.close()

    def files(self, cutoff: datetime) -> list[Path]:
        """The objects that can hold rows known by `cutoff`: those of nights up to it, and the next, whose night may
        have begun before it. Raises RecurError where an object is missing or not as large as it was.
        """
        require_whole(self.folder)
        nights = self.nights()
        upto = [night for night in nights if midnight(night) <= cutoff]
        return [self.path(night) for night in [*upto, *nights[len(upto) : len(upto) + (upto[-1:] != [cutoff.date()])]]]

    def digests(self, cutoff: datetime) -> dict[str, str]:
        """The objects that `cutoff` knows, by score date, each with a digest of what it holds."""
        return {file.stem: object_digest(file) for file in self.files(cutoff)}

    def as_of(self, moment: datetime, since: datetime | None = None) -> "AsOf":
        """What was known at `moment`; with `since` only what happened at or after it, for which no earlier night is
        read. Raises RecurError where no night is loaded.
        """
        files = self.files(moment)
        if since is not None:
            # No event is known before it happened, so neither it nor what replaces it lies in a night that ended by it.
            files = [file for file in files if midnight(date.fromisoformat(file.stem)) > since] or files[-1:]
        if not files:
            raise RecurError(f"the event store {self.folder} holds no night: run recur run, or recur ingest")
        for file in files:
            self.require_columns(file)
        corrected = any(corrections(file) != 0 for file in files)
        return AsOf(tuple(files), moment, since, corrected, dict(self.attributes))

    def require_columns(self, file: Path) -> None:
        """Raises RecurError where an object has not the columns of the configuration."""
        if object_columns(file) != columns_digest(self.schema):
            there = pq.read_schema(whole(file))
            raise RecurError(
                f"{file} has the columns {', '.join(there.names)}, but the configuration asks for "
                f"{', '.join(self.schema.names)}: set [source.columns] back, or set paths.var to a new folder"
            )


@dataclass(frozen=True)
class AsOf:
    """Every row with known_time <= `moment` and, with `since`, event_time >= `since`, in `files`."""

    files: tuple[Path, ...]
    moment: datetime
    since: datetime | None
    corrected: bool  # whether any may replace an earlier row of its event id
    attributes: Mapping[str, Kind]

    def sql(self, rows: str, instant: str = "timestamptz") -> str:
        """The query of the columns of an event, and `superseded_time`: the known time (<= `moment`) of the next row of
        its event id, or null. `rows` is the relation of all files, in an engine whose session is in UTC and which calls
        an instant `instant`.
        """

        def at(moment: datetime) -> str:
            return f"cast('{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}' as {instant})"

        known = f"(select * from {rows} where known_time <= {at(self.moment)})"
        query = f"select *, cast(null as {instant}) as superseded_time from {known}"
        if self.corrected:
            query = superseding_sql(known)
        return query if self.since is None else f"select * from ({query}) where event_time >= {at(self.since)}"

    def first_event(self, spec: FeatureSpec) -> datetime | None:
        """The time of the first event that the question does not leave out; None where there is none."""
        names = dict.fromkeys(["event_time", "known_time", "deleted", *spec.excluded])
        first: list[datetime] = []
        for file in self.files:
            with pq.ParquetFile(whole(file)) as parquet:
                for batch in parquet.iter_batches(columns=list(names)):
                    table = pa.Table.from_batches([batch])
                    known = pc.and_(pc.less_equal(table["known_time"], self.moment), pc.invert(table["deleted"]))
                    counted = np.asarray(known, bool) & ~is_excluded(table, spec)
                    if counted.any():
                        first.append(pc.min(table["event_time"].filter(pa.array(counted))).as_py())
        return min(first, default=None)

    def event_types(self) -> Counter[str]:
        """How many rows there are of each event type, those that a later row replaces included."""
        counts = Counter[str]()
        for file in self.files:
            with pq.ParquetFile(whole(file)) as parquet:
                for batch in parquet.iter_batches(columns=["event_type", "known_time"]):
                    known = batch.filter(pc.less_equal(batch["known_time"], self.moment))["event_type"]
                    for each in known.cast(pa.string()).value_counts().to_pylist():
                        counts[each["values"]] += each["counts"]
        return counts

    @property
    def in_duckdb(self) -> str:
        """The query in DuckDB."""
        return self.sql(scan(self.files))


def _form(schema: pa.Schema) -> dict[str, Any]:
    """How an object is written: ids, which hardly anything reads, small, and all else quick to read.
    Times of one customer ascend, so that their differences are kept; neither they nor ids repeat.
    """
    return {
        "compression": dict.fromkeys(schema.names, "lz4") | {"event_id": "zstd"},
        "use_dictionary": [name for name in schema.names if name not in ("event_id", "event_time")],
        "column_encoding": {"event_time": "DELTA_BINARY_PACKED"},
    }


def open_store(settings: Settings) -> EventStore:
    """The event store that the configuration names, with the attributes of its source."""
    return EventStore(settings.events, open_source(settings).attributes())


def night_ending_at(folder: Path, cutoff: datetime) -> Night:
    """The night whose end is `cutoff`: it starts at the latest cutoff before it that the event store in `folder` holds,
    or, where there is none, holds all history. So a night after a failed one takes both intervals.
    """
    earlier = [night for night in loaded_nights(folder) if midnight(night) < cutoff]
    return Night(midnight(earlier[-1]) if earlier else None, cutoff)


def _groups(events: pa.Table | pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """`events` in row groups of one size, so that the same rows make the same bytes however they came."""
    batches = events.to_batches() if isinstance(events, pa.Table) else events
    waiting = schema.empty_table()
    for batch in batches:
        table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        waiting = pa.concat_tables([waiting, table])
        while waiting.num_rows >= ROWS_A_GROUP:
            yield waiting.slice(0, ROWS_A_GROUP).combine_chunks()
            waiting = waiting.slice(ROWS_A_GROUP)
    yield waiting.combine_chunks()
