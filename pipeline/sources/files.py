"""A source in one file, CSV or Parquet. It is read once: its mapped columns go, as text beside the times that were read
from them, into an index under `paths.var`, and every night is taken from there until the file changes.

A row without a usable time (missing, unreadable, before 1970, or a mistaken date far after all others) is not lost: it
belongs to the night of the row before it in the file, and validation sets it aside there.
"""

import hashlib
import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from pipeline.engine import literal, quoted, session
from pipeline.errors import ConfigurationError, RecurError
from pipeline.nights import Night, midnight
from pipeline.paths import atomically
from pipeline.settings import CORE_COLUMNS, Settings
from pipeline.sources.contract import Kind
from pipeline.sources.reader import columns_of, relation, unreadable_lines
from pipeline.sources.times import reading

INDEX_FORMAT = 1
FIRST_TIME = datetime(1970, 1, 2, tzinfo=UTC)  # 1970-01-01 is what an empty clock says
LAST_TIME = datetime(2200, 1, 1, tzinfo=UTC)
MISTAKEN_GAP = timedelta(days=366)
MISTAKEN_SHARE = 0.01


class File:
    """The file at `[source] path`, its columns mapped by `[source.columns]`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._source, self._path = settings, settings.source, settings.source_path
        if not self._path.is_file():
            raise RecurError(f"{self._path} does not exist: set source.path to the file that holds your events")
        there = columns_of(self._path, self._source.kind)
        for name, column in self._source.columns.items():
            if column not in there:
                raise ConfigurationError(
                    f"source.columns.{name} is {column!r}, which {self._path} has not: it has {', '.join(there)}"
                )
        self._there = there

    def attributes(self) -> dict[str, Kind]:
        names = [name for name in self._source.columns if name not in CORE_COLUMNS]
        return {name: "categorical" if name in self._source.categorical else "numeric" for name in names}

    def span(self) -> tuple[datetime, datetime]:
        facts = json.loads((self._index() / "facts.json").read_text("utf-8"))
        return datetime.fromisoformat(facts["first_event"]), datetime.fromisoformat(facts["closed"])

    def extract(self, night: Night, path: Path) -> int:
        index = self._index()
        lower, upper = (">", "<=") if "known_time" in self._source.columns else (">=", "<")
        within = f"moment {upper} {_literal(night.end)}"
        if night.start is not None:
            within = f"moment {lower} {_literal(night.start)} and {within}"
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
        return [*(name for name in CORE_COLUMNS if name in self._source.columns), *self.attributes()]

    def _index(self) -> Path:
        """The folder of the index, made where the file or its mapping is new."""
        stat = self._path.stat()
        key = [INDEX_FORMAT, str(self._path), stat.st_size, stat.st_mtime_ns, self._source.model_dump(mode="json")]
        folder = self._settings.var / "source" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        if not (folder / "facts.json").exists():
            if folder.parent.exists():
                shutil.rmtree(folder.parent)
            folder.mkdir(parents=True)
            with session(self._settings) as connection:
                facts = self._write_index(connection, folder)
            with atomically(folder / "facts.json") as file:
                file.write_text(json.dumps(facts), "utf-8")
        return folder

    def _write_index(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, str]:
        connection.execute(f"set TimeZone = {literal(self._source.timezone)}")
        file = relation(self._path, self._source.kind, self._there)
        try:
            self._write_rows(connection, file, folder)
        except duckdb.Error as error:
            raise RecurError(f"{self._path} cannot be read: {str(error).splitlines()[0]}: mend or replace it") from None
        parts = [folder / "taken.parquet", folder / "left_out.parquet"]
        everything = f"read_parquet([{', '.join(literal(part) for part in parts)}])"
        connection.execute("set TimeZone = 'UTC'")
        usable = self._usable(connection, everything)
        first, last = _extent(connection, f"{everything} where {usable}", "event_at", "moment")
        connection.execute(f"copy (select * from {everything} where {usable}) to {literal(folder / 'rows.parquet')}")
        strays = f"""
            select stray.* exclude (moment), coalesce(good.moment, {_literal(first)}) as moment
            from (select * from {everything} where not coalesce({usable}, false)) stray
            asof left join (select row, moment from {everything} where {usable}) good on stray.row >= good.row
        """
        connection.execute(f"copy ({strays}) to {literal(folder / 'strays.parquet')}")
        for part in parts:
            part.unlink()
        return {"first_event": first.isoformat(), "closed": midnight(last).isoformat()}

    def _write_rows(self, connection: duckdb.DuckDBPyConnection, file: str, folder: Path) -> None:
        """Every row as mapped text, its times in ISO and UTC where they can be read; `event_at` and `moment` typed."""
        columns = self._source.columns
        times = {}
        for name in ("event_time", "known_time"):
            if name in columns:
                where = f"{self._path}: column {columns[name]}"
                times[name] = reading(connection, file, quoted(columns[name]), where)
        moment = times.get("known_time", times["event_time"])
        selected = [f"{times['event_time']} at time zone 'UTC' as event_at", f"{moment} at time zone 'UTC' as moment"]
        for name in self._names():
            column = quoted(columns[name])
            iso = f"({times[name]} at time zone 'UTC')::varchar || '+00'" if name in times else None
            selected.append(f"{f'coalesce({iso}, {column})' if iso else column} as {quoted(name)}")
        rows = f"select row_number() over () as row, null::varchar as unreadable, {', '.join(selected)} from {file}"
        connection.execute(f"copy ({rows}) to {literal(folder / 'taken.parquet')} (format parquet)")
        connection.execute(
            f"create temp table left_out as from read_parquet({literal(folder / 'taken.parquet')}) limit 0"
        )
        if lines := unreadable_lines(connection, self._source.kind):
            connection.executemany("insert into left_out (row, unreadable) values (?, ?)", lines)
        connection.execute(f"copy left_out to {literal(folder / 'left_out.parquet')} (format parquet)")

    def _usable(self, connection: duckdb.DuckDBPyConnection, everything: str) -> str:
        """An SQL predicate: whether a row's time can decide which night it belongs to."""
        plausible = f"moment >= {_literal(FIRST_TIME)} and moment < {_literal(LAST_TIME)}"
        days = connection.execute(
            f"select moment::date, count(*) from {everything} where {plausible} group by 1 order by 1"
        ).fetchall()
        if not days:
            raise RecurError(
                f"{self._path} holds no row with a time from 1970 on: set source.path to a file with events"
            )
        end = midnight(last_real_day(days)) + timedelta(days=1)
        return f"(moment >= {_literal(FIRST_TIME)} and moment < {_literal(end)})"


def last_real_day(days: list[tuple[date, int]]) -> date:
    """The last day that events really have. `days` holds each day and its number of rows, ascending.

    One row dated 2099 must not make the pipeline wait for 2099: the days after a gap of more than a year that hold at
    most one row in a hundred are taken for mistaken.
    """
    allowed, after = MISTAKEN_SHARE * sum(rows for _, rows in days), 0
    last = days[-1][0]
    for (day, _), (following, rows) in zip(days[-2::-1], days[:0:-1], strict=True):
        after += rows
        if after > allowed:
            break
        if following - day > MISTAKEN_GAP:
            last = day
    return last


def _extent(connection: duckdb.DuckDBPyConnection, rows: str, first: str, last: str) -> tuple[datetime, datetime]:
    """The earliest plausible `first` and the latest `last`."""
    plausible = f"filter ({first} >= {_literal(FIRST_TIME)})"
    found = connection.execute(f"select min({first}) {plausible}, max({last}) from {rows}").fetchone()
    assert found is not None
    return (found[0] or found[1]).replace(tzinfo=UTC), found[1].replace(tzinfo=UTC)


def _literal(moment: datetime) -> str:
    """`moment` as an SQL timestamp without a zone, in UTC, as the index has them."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
