"""The index of a source in files: every row once, as mapped text beside the instant that decides its night.

It grows with the source and is never made again: each look at the source is a *sync*, which reads no more than the
files that are new or have changed, into chunks of their own. So a night costs what is new, however long the history.
The index notes with which sync each night was taken, so that rows that came later for past days are found by the next.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import duckdb

from pipeline.config.source import Source
from pipeline.runtime.described import describe_new, require_whole, whole
from pipeline.runtime.engine import literal, session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import write_sealed
from pipeline.runtime.suppression import Suppression
from pipeline.sources.chunks import EarlierRows, keep_new_rows, usable, write_malformed, write_rows
from pipeline.sources.columns.file_columns import LocalFile
from pipeline.sources.columns.file_relation import FileRelation
from pipeline.sources.columns.readings import Readings
from pipeline.sources.columns.times import Undecided
from pipeline.sources.contents import CONTENTS, FORMAT, WAY_BACK, Chunk, Contents, read_contents, sweep_unlisted
from pipeline.sources.expressions import plausible
from pipeline.sources.inputs import Input

INDEX_FORMAT = 5
LATER_KEYS = (
    "delimiter",
    "encoding",
    "header_row",
    "decimal",
    "thousands",
    "time_format",
    "fold_case",
    "strip_zeros",
)
"""Keys of `[source]` that came later: an index of before is that of a source where they are left at their defaults."""


class Index:
    """The index of the source as it is mapped, under `paths.var`."""

    def __init__(self, source: Source, names: list[str], state: StateFolder) -> None:
        """`names` are the columns, by recur's names."""
        self.names, self.of_lines = names, source.rows_are == "lines"
        # Of events with ids the latest row counts, also where it says what an earlier file said.
        self._repeats_are_one = source.kind != "sql" and (self.of_lines or "event_id" not in names)
        self._source, self._state = source, state
        self._readings, self._unreadable = Readings(), 0
        defaults = {name for name in LATER_KEYS if getattr(source, name) == Source.model_fields[name].default}
        defaults.add("nobody")  # those rows are in the index as all others
        key = [INDEX_FORMAT, names, source.model_dump(mode="json", exclude=defaults)]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.folder = state.path / "source" / digest
        self._verified: set[str] = set()

    def contents(self) -> Contents:
        """What the index holds by now, without a look at the source. Raises DamagedError."""
        return read_contents(self.folder)

    def sync(self, inputs: list[Input]) -> Contents:
        """Reads what is new among `inputs`, and returns what the index then holds. Raises RecurError where a file
        cannot be read, and where none holds a time.
        """
        with self._state.alone("source"):
            contents = self.contents()
            fresh = [file for file in inputs if contents.files.get(file.name) != file.stamp]
            if fresh:
                if not self.folder.exists():
                    shutil.rmtree(self.folder.parent, ignore_errors=True)  # the index of another mapping
                self.folder.mkdir(parents=True, exist_ok=True)
                sweep_unlisted(self.folder, contents)
                self._readings = Readings.of(self._state, self._source)
                with session(self._state) as connection:
                    contents.sync += 1
                    for number, file in enumerate(fresh):
                        name = f"{contents.sync:06d}-{number:04d}.parquet"
                        self._write_rows(connection, contents, fresh[number:], name, inputs)
                        if self._add(connection, contents, file, name):
                            # What this file no longer holds may be left to it by others.
                            fresh += [other for other in inputs if other != file and contents.repeats.get(other.name)]
                if not contents.days:
                    advice = "set source.path to a file with events"
                    if self._unreadable:
                        advice = (
                            f"{self._unreadable:,} lines cannot be taken apart, as where they are not UTF-8 "
                            "(source.encoding) or have other columns than the header (source.delimiter)"
                        )
                    raise RecurError(
                        f"{inputs[0].address} holds no row with a time from February 1970 to 2199: {advice}"
                    )
                self._readings.write(self._state)
                self._write(contents)
                describe_new(self.folder, contents.names)
        return contents

    def note(self, night: str) -> Contents:
        """Notes that `night` is taken with the last sync, and returns what the index holds."""
        with self._state.alone("source"):
            contents = self.contents()
            contents.nights[night] = contents.sync
            self._write(contents)
        return contents

    def rows(self, contents: Contents, chunks: list[Chunk], sync: int | None = None) -> str:
        """An SQL query of the rows of `chunks`, in their order, malformed ones after the others of their chunk, without
        those that the source no longer held at `sync` (by default the last). Its column `pull` is the sync that brought
        each row.
        """
        sync = contents.sync if sync is None else sync
        selects = []
        for (number, end), group in groupby(chunks, key=lambda chunk: (chunk.sync, chunk.end)):
            of_group = list(group)
            within = f" where {usable(end)}" if end else ""
            selects.append(self._read(number, [chunk.name for chunk in of_group]) + within)
            if malformed := [chunk.malformed for chunk in of_group if chunk.malformed]:
                selects.append(self._read(number, malformed))
        rows = " union all ".join(selects)
        deletions = [name for number, names in contents.deletions.items() if number <= sync for name in names]
        if not deletions:
            return rows
        return f"select * from ({rows}) where row not in (from {self._files(deletions)})"

    def _read(self, sync: int, names: list[str]) -> str:
        return f"select *, {sync} as pull from {self._files(names)}"

    def _files(self, names: list[str]) -> str:
        """These files, verified once by each index object."""
        require_whole(self.folder, WAY_BACK, set(names) - self._verified)
        self._verified.update(names)
        return f"read_parquet([{', '.join(literal(self.folder / name) for name in names)}])"

    def _write(self, contents: Contents) -> None:
        write_sealed(self.folder / CONTENTS, json.loads(contents.model_dump_json()), FORMAT)

    def _write_rows(
        self,
        connection: duckdb.DuckDBPyConnection,
        contents: Contents,
        files: list[Input],
        name: str,
        inputs: list[Input],
    ) -> None:
        """Writes the rows of the first of `files` to a chunk. Where it does not show how it is read, the others may."""
        with self._local(contents, files[0]) as file:
            try:
                lacking = self._lacking(contents, file, inputs)
                write_rows(connection, file.without(lacking), self.folder / name)
                return
            except Undecided as error:
                undecided = error
        for other in files[1:]:
            with self._local(contents, other) as file:
                file.look(connection)
        try:
            with self._local(contents, files[0]) as file:
                write_rows(connection, file.without(lacking), self.folder / name)
        except Undecided:
            raise undecided from None

    def _lacking(self, contents: Contents, file: LocalFile, inputs: list[Input]) -> frozenset[str]:
        """The mapped columns that `file` has not, and another file of the source has: of exports over years, some came
        to have a column, and in JSON what is null may be left out.
        """
        lacking, absent = frozenset[str](), file.relation.absent if len(inputs) > 1 else frozenset[str]()
        for other in reversed(inputs):
            if not absent - lacking:
                break
            if other != file.relation.input:
                with self._local(contents, other) as of_other:
                    lacking |= absent - of_other.relation.absent
        return lacking

    @contextmanager
    def _local(self, contents: Contents, file: Input) -> Iterator[LocalFile]:
        with file.local(self.folder) as path:
            if self._source.kind == "sql":
                whole(path.parent, path.name, WAY_BACK)
            relation = FileRelation(file, path)
            yield LocalFile(relation, self._source, self._readings, self.names, contents.last_row)

    def _add(self, connection: duckdb.DuckDBPyConnection, contents: Contents, file: Input, name: str) -> bool:
        """Adds the chunk that a file was read into to `contents`; whether it no longer holds some rows that it had."""
        path = self.folder / name
        deleted = self._keep_new_rows(connection, contents, file, path)
        Suppression(self._state).remove_from(path)
        contents.files[file.name] = file.stamp
        days = connection.execute(
            f"select moment::date, count(*) from read_parquet({literal(path)}) where {plausible('moment')} group by 1"
        ).fetchall()
        for day, count in days:
            contents.days[day] = contents.days.get(day, 0) + count
        chunk = Chunk(name=name, sync=contents.sync, address=file.name, entry=file.entry)
        if contents.days:
            malformed = self.folder / name.replace(".parquet", "-strays.parquet")
            last = max((other.last for other in contents.chunks), default=None)
            end = contents.closed + DAY
            if write_malformed(connection, path, end, last, malformed):
                chunk = chunk.model_copy(update={"end": end, "malformed": malformed.name})
        [(last_row, first, last, first_event)] = connection.execute(
            f"select max(row), min(moment) filter ({plausible('moment')}), max(moment) filter ({plausible('moment')}), "
            f"min(event_at) filter ({plausible('event_at')} and not stray) from ({self.rows(contents, [chunk])})"
        ).fetchall()
        contents.last_row = max(contents.last_row, last_row or 0)
        if first is None:
            lines = f"select count(*) from read_parquet({literal(path)}) where unreadable is not null"
            self._unreadable += connection.execute(lines).fetchall()[0][0]
            if last_row is not None:  # not one usable time so far: read again when there is
                del contents.files[file.name]
            path.unlink()
            return deleted
        if first_event is not None:
            contents.first_event = min(_utc(first_event), contents.first_event or _utc(first_event))
        contents.chunks.append(chunk.model_copy(update={"first": _utc(first), "last": _utc(last)}))
        return deleted

    def _keep_new_rows(
        self, connection: duckdb.DuckDBPyConnection, contents: Contents, file: Input, path: Path
    ) -> bool:
        """Leaves in the chunk at `path` what the index has not of `file` or, where these are one, of others; whether
        the file no longer holds some rows that it had.
        """
        of_file = [chunk for chunk in contents.chunks if chunk.address == file.name]
        of_others = self._overlapping(connection, contents, file, path) if self._repeats_are_one else []
        if not of_file and not of_others:
            return False
        deletions = path.with_name(f"{path.name}.gone")  # no name of Parquet: it holds no rows of the source's
        own, others = (
            " union all ".join(self.rows(contents, [chunk]) for chunk in chunks) or None
            for chunks in (of_file, of_others)
        )
        changes = keep_new_rows(connection, path, EarlierRows(own, others, deletions), self.names)
        if of_file:
            contents.deletions.setdefault(contents.sync, []).append(deletions.name)
        if of_others:
            contents.repeats[file.name] = changes.repeats
        return changes.deleted > 0

    def _overlapping(
        self, connection: duckdb.DuckDBPyConnection, contents: Contents, file: Input, path: Path
    ) -> list[Chunk]:
        """The chunks of other files of the same pattern that can hold a row of the chunk at `path`."""
        others = [chunk for chunk in contents.chunks if chunk.entry == file.entry and chunk.address != file.name]
        span = f"select min(moment), max(moment) from read_parquet({literal(path)}) where {plausible('moment')}"
        [(first, last)] = connection.execute(span).fetchall()
        if first is None:
            return []
        return [chunk for chunk in others if _utc(first) <= chunk.last and chunk.first <= _utc(last)]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
