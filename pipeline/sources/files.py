"""A source in files: CSV, JSON Lines or Parquet, here or at any address that fsspec reads. Each is read once: its
mapped columns go, as text beside the times that were read from them, into an index under `paths.var`, and every night
is taken from there.
"""

from collections.abc import Callable
from pathlib import Path

from pipeline.config.source import CORE_COLUMNS, LINES, Source
from pipeline.runtime.engine import PARQUET, literal, session
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import StateFolder
from pipeline.sources.columns.clock_column import clock_beside
from pipeline.sources.columns.described import SourceValues
from pipeline.sources.columns.file_columns import LocalFile
from pipeline.sources.columns.file_relation import FileRelation
from pipeline.sources.columns.readings import Readings
from pipeline.sources.contents import Contents
from pipeline.sources.contract import Kind, Span
from pipeline.sources.index import Index
from pipeline.sources.inputs import Input
from pipeline.sources.night_rows import restated_query, rows_of_night, staging_query

EXAMPLE_ROWS = 10_000
"""Of how many rows of the last file examples are taken."""


class Files:
    """Files whose columns are mapped by `[source.columns]`. Only `span` and `extract` look at them, once for each
    source object, so that what needs only the attributes costs nothing.
    """

    def __init__(self, source: Source, state: StateFolder, inputs: Callable[[], list[Input]]) -> None:
        """Of the files that `inputs` lists."""
        self._source, self._state, self._inputs = source, state, inputs
        attributes = [name for name in self.attributes() if name != LINES or source.rows_are != "lines"]
        own = [name for name in CORE_COLUMNS if name in source.names]
        self._index = Index(source, [*own, *attributes], state)
        self._synced = False

    def attributes(self) -> dict[str, Kind]:
        return attributes_of(self._source)

    def span(self) -> Span:
        contents = self._contents()
        assert contents.first_event is not None
        return Span(contents.first_event, contents.closed)

    @property
    def was_read(self) -> bool:
        """Whether the index holds a file."""
        return bool(self._index.contents().files)

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        contents, by_known_time = self._contents(), "known_time" in self._source.names
        if not again:
            contents = self._index.note(night.name)
        query = staging_query(self._index, contents, rows_of_night(contents, night, by_known_time, again))
        with session(self._state) as connection:
            [(written,)] = connection.execute(f"copy ({query}) to {literal(path)} ({PARQUET})").fetchall()
        return int(written)

    def restated(self, night: Night) -> int:
        contents = self._index.contents()
        rows = rows_of_night(contents, night, "known_time" in self._source.names, again=True)
        query = restated_query(self._index, contents, rows)
        if query is None:
            return 0
        with session(self._state) as connection:
            [(count,)] = connection.execute(query).fetchall()
        return int(count)

    def values(self) -> SourceValues:
        contents = self._contents()
        rows = f"({self._index.rows(contents, contents.chunks)})"
        readings = Readings.of(self._state, self._source)
        file, names, unmapped, clock = self._inputs()[-1], self._index.names, list[str](), None
        if not file.is_remote:
            with session(self._state) as connection, file.local(self._index.folder) as path:
                whole = FileRelation(file, path, EXAMPLE_ROWS)
                last = LocalFile(whole, self._source, readings, names, 0).without(whole.absent)
                last.find_examples(connection)
                if self._source.kind != "sql":
                    unmapped, clock = whole.unmapped, clock_beside(last, connection)
        return SourceValues(rows, tuple(names), readings, tuple(unmapped), clock)

    def _contents(self) -> Contents:
        if self._synced:
            return self._index.contents()
        self._synced = True
        return self._index.sync(self._inputs())


def attributes_of(source: Source) -> dict[str, Kind]:
    """The attributes that the configuration names, and `lines` where rows are the lines of events."""
    kinds: dict[str, Kind] = {
        name: "categorical" if name in source.categorical else "numeric"
        for name in source.names
        if name not in CORE_COLUMNS
    }
    return kinds | ({LINES: "numeric"} if source.rows_are == "lines" else {})
