"""A source in files: CSV, JSON Lines or Parquet, here or at any address that fsspec reads. Each is read once: its
mapped columns go, as text beside the times that were read from them, into an index under `paths.var`, and every night
is taken from there.
"""

from datetime import datetime
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.config.source import CORE_COLUMNS, LINES, Source
from pipeline.runtime.engine import PARQUET, literal, session
from pipeline.runtime.nights import Night
from pipeline.sources.contract import Kind
from pipeline.sources.index import Contents, Index
from pipeline.sources.inputs import Input, inputs_of
from pipeline.sources.night_rows import replayed, rows_of_night, staging_query


class Files:
    """The file or files of `[source]`, their columns mapped by `[source.columns]`. They are looked at by `span` and
    `extract` alone, once by each source object, so that what needs only the attributes costs nothing.
    """

    def __init__(self, settings: Settings, inputs: list[Input] | None = None) -> None:
        """Of the files that the configuration names, or of `inputs`."""
        self._settings, self._source, self._inputs = settings, settings.source, inputs
        attributes = [name for name in self.attributes() if name != LINES or self._source.rows_are != "lines"]
        own = [name for name in CORE_COLUMNS if name in self._source.names]
        self._index = Index(settings, [*own, *attributes])
        self._pulled = False

    def attributes(self) -> dict[str, Kind]:
        return attributes_of(self._source)

    def span(self) -> tuple[datetime, datetime]:
        held = self._held()
        assert held.first_event is not None
        return held.first_event, held.closed

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        held, by_known_time = self._held(), "known_time" in self._source.names
        if again:
            rows = replayed(self._settings, held, night, by_known_time)
        else:
            held = self._index.note(night.name)
            rows = rows_of_night(held, night, by_known_time)
        query = staging_query(self._settings, self._index.folder, held, rows, self._index.names)
        with session(self._settings.state) as connection:
            written = connection.execute(f"copy ({query}) to {literal(path)} ({PARQUET})").fetchone()
        assert written is not None
        return int(written[0])

    def _held(self) -> Contents:
        if self._pulled:
            return self._index.contents()
        self._pulled = True
        return self._index.pull(inputs_of(self._settings) if self._inputs is None else self._inputs)


def attributes_of(source: Source) -> dict[str, Kind]:
    """The attributes that the configuration names, and `lines` where rows are the lines of events."""
    kinds: dict[str, Kind] = {
        name: "categorical" if name in source.categorical else "numeric"
        for name in source.names
        if name not in CORE_COLUMNS
    }
    return kinds | ({LINES: "numeric"} if source.rows_are == "lines" else {})
