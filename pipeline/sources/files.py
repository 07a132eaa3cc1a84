"""A source in files: CSV, JSON Lines or Parquet. They are read once: their mapped columns go, as text beside
the times that were read from them, into an index under `paths.var`, and every night is taken from there until a file
changes.
"""

import hashlib
import json
import shutil
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.engine import literal, quoted, session
from pipeline.errors import ConfigurationError, RecurError
from pipeline.nights import Night
from pipeline.paths import atomically, folder_atomically
from pipeline.settings import Settings
from pipeline.source_settings import CORE_COLUMNS, LINES, Source, SourceFile
from pipeline.sources.contract import Kind
from pipeline.sources.index import Input, sql_moment, write_index
from pipeline.sources.reader import columns_of

INDEX_FORMAT = 2


class Files:
    """The file or files of `[source]`, their columns mapped by `[source.columns]`."""

    def __init__(self, settings: Settings, inputs: list[Input] | None = None) -> None:
        """Of the files that the configuration names, or of `inputs`."""
        self._settings, self._source = settings, settings.source
        self._inputs = inputs or [one for file in settings.source_files for one in self._inputs_of(file)]

    def attributes(self) -> dict[str, Kind]:
        return attributes_of(self._source)

    def span(self) -> tuple[datetime, datetime]:
        facts = json.loads((self._index() / "facts.json").read_text("utf-8"))
        return datetime.fromisoformat(facts["first_event"]), datetime.fromisoformat(facts["closed"])

    def extract(self, night: Night, path: Path) -> int:
        index = self._index()
        lower, upper = (">", "<=") if "known_time" in self._source.names else (">=", "<")
        within = f"moment {upper} {sql_moment(night.end)}"
        if night.start is not None:
            within = f"moment {lower} {sql_moment(night.start)} and {within}"
        rows, strays = (f"read_parquet({literal(index / name)})" for name in ("rows.parquet", "strays.parquet"))
        names = ", ".join(["row", "unreadable", *(quoted(name) for name in self._names())])
        query = f"""
            select {names} from {rows} where {within}
            union all
            select {names} from {strays} where {within}
            order by row, unreadable nulls first
        """
        with session(self._settings) as connection:
            written = connection.execute(f"copy ({query}) to {literal(path)} (format parquet)").fetchone()
        assert written is not None
        return int(written[0])

    def _names(self) -> list[str]:
        own = [name for name in CORE_COLUMNS if name in self._source.names]
        return [*own, *(name for name in self.attributes() if name != LINES or self._source.rows_are != "lines")]

    def _inputs_of(self, file: SourceFile) -> list[Input]:
        """What one entry of the configuration stands for: a file, or those that fit its pattern, in their order."""
        pattern = Path(file.path)
        named = pattern.is_file() or not any(mark in pattern.name for mark in "*?[")
        found = [pattern] if named else sorted(one for one in pattern.parent.glob(pattern.name) if one.is_file())
        inputs = []
        for path in found:
            if not path.is_file():
                raise RecurError(f"{path} does not exist: set source.path to the file that holds your events")
            there = columns_of(path, self._source.kind)
            for name, column in file.columns.items():
                if column not in there:
                    raise ConfigurationError(
                        f"source.columns.{name} is {column!r}, which {path} has not: it has {', '.join(there)}"
                    )
            since, before = (self._midnight(day) for day in (file.since, file.before))
            inputs.append(Input(path, self._source.kind, there, file.columns, since, before))
        if not inputs:
            raise RecurError(f"no file fits {pattern}: set source.path to the files that hold your events")
        return inputs

    def _midnight(self, day: date | None) -> datetime | None:
        """The instant at which `day` begins in the source's time zone."""
        return None if day is None else datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self._source.timezone))

    def _index(self) -> Path:
        """The folder of the index, made where a file or the mapping is new."""
        stats = [(str(one.path), one.path.stat().st_size, one.path.stat().st_mtime_ns) for one in self._inputs]
        key = [INDEX_FORMAT, stats, self._source.model_dump(mode="json")]
        folder = self._settings.var / "source" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        if not (folder / "facts.json").exists():
            for old in folder.parent.glob("[!.]*"):
                shutil.rmtree(old, ignore_errors=True)
            with folder_atomically(folder) as made, session(self._settings) as connection:
                facts = write_index(connection, self._inputs, self._source, self._names(), made)
                with atomically(made / "facts.json") as file:
                    file.write_text(json.dumps(facts), "utf-8")
        return folder


def attributes_of(source: Source) -> dict[str, Kind]:
    """The attributes that the configuration names, and `lines` where rows are the lines of events."""
    kinds: dict[str, Kind] = {
        name: "categorical" if name in source.categorical else "numeric"
        for name in source.names
        if name not in CORE_COLUMNS
    }
    return kinds | ({LINES: "numeric"} if source.rows_are == "lines" else {})
