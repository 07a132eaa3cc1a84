"""The index of a source in files: every row once, as mapped text beside the instant that decides its night.

A row without a usable time (missing, unreadable, before February 1970, or a mistaken date far after all others) is not
lost: it belongs to the night of the row before it, and validation sets it aside there.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from pipeline.engine import literal, quoted
from pipeline.errors import RecurError
from pipeline.nights import midnight
from pipeline.source_settings import Source
from pipeline.sources.reader import relation, unreadable_lines
from pipeline.sources.times import reading

FIRST_TIME = datetime(1970, 2, 1, tzinfo=UTC)  # January 1970: an empty clock, or seconds taken for milliseconds
LAST_TIME = datetime(2200, 1, 1, tzinfo=UTC)
MISTAKEN_GAP = timedelta(days=366)
MISTAKEN_SHARE = 0.01


@dataclass(frozen=True)
class Input:
    """One file: the columns that it has, which of them holds what (`mapped`: recur's name to the file's), and the
    event times `[since, before)` whose rows are taken from it.
    """

    path: Path
    kind: str
    there: list[str]
    mapped: dict[str, str]
    since: datetime | None = None
    before: datetime | None = None


def write_index(
    connection: duckdb.DuckDBPyConnection, inputs: list[Input], source: Source, names: list[str], folder: Path
) -> dict[str, str]:
    """Writes `rows.parquet` and `strays.parquet` (`row, unreadable, event_at, moment`, and `names` as text) to
    `folder`; returns `first_event` and `closed`, the end of the last closed day, in ISO. Raises RecurError where a file
    cannot be read and where none holds a time.
    """
    connection.execute(f"set TimeZone = {literal(source.timezone)}")
    parts: list[Path] = []
    for number, one in enumerate(inputs):
        try:
            parts += _write_rows(connection, one, names, folder, number, parts)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            if "state machine" in reason:  # all that the engine says of it
                reason = "its lines end in more than one way (\\n, \\r\\n, \\r), or are no lines of text"
            raise RecurError(f"{one.path} cannot be read: {reason}: mend or replace it") from None
    everything = f"read_parquet([{', '.join(literal(part) for part in parts)}])"
    connection.execute("set TimeZone = 'UTC'")
    usable = _usable(connection, everything, inputs[0].path)
    first, last = _extent(connection, f"{everything} where {usable}")
    moment = "moment"
    if source.rows_are == "lines":
        # An event is known once its last line is: all its lines belong to that line's night.
        of_event = "partition by nullif(trim(event_id), '')"
        moment = f"case when trim(event_id) <> '' then max(moment) over ({of_event}) else moment end as moment"
    rows = f"select * exclude (moment), {moment} from {everything} where {usable}"
    connection.execute(f"copy ({rows}) to {literal(folder / 'rows.parquet')}")
    strays = f"""
        select stray.* exclude (moment), coalesce(good.moment, {sql_moment(first)}) as moment
        from (select * from {everything} where not coalesce({usable}, false)) stray
        asof left join (select row, moment from {everything} where {usable}) good on stray.row >= good.row
    """
    connection.execute(f"copy ({strays}) to {literal(folder / 'strays.parquet')}")
    for part in parts:
        part.unlink()
    return {"first_event": first.isoformat(), "closed": midnight(last).isoformat()}


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


def sql_moment(moment: datetime) -> str:
    """`moment` as an SQL timestamp without a zone, in UTC, as the index has them."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def _write_rows(
    connection: duckdb.DuckDBPyConnection, one: Input, names: list[str], folder: Path, number: int, before: list[Path]
) -> list[Path]:
    """Every row of one file as mapped text, its times in ISO and UTC where they can be read; `event_at` and `moment`
    typed. Rows are numbered on from those of the files `before`. Returns what was written.
    """
    file = relation(one.path, one.kind, one.there)
    times = {}
    for name in ("event_time", "known_time"):
        if name in one.mapped:
            where = f"{one.path}: column {one.mapped[name]}"
            times[name] = reading(connection, file, quoted(one.mapped[name]), where)
    moment = times.get("known_time", times["event_time"])
    selected = [f"{times['event_time']} at time zone 'UTC' as event_at", f"{moment} at time zone 'UTC' as moment"]
    for name in names:
        column = quoted(one.mapped[name])
        iso = f"({times[name]} at time zone 'UTC')::varchar || '+00'" if name in times else None
        selected.append(f"{f'coalesce({iso}, {column})' if iso else column} as {quoted(name)}")
    offset = _last_row(connection, before)
    taken, left_out = folder / f"taken-{number}.parquet", folder / f"left_out-{number}.parquet"
    rows = (
        f"select row_number() over () + {offset} as row, null::varchar as unreadable, {', '.join(selected)} from {file}"
    )
    connection.execute(f"copy (select * from ({rows}) where {_in_window(one)}) to {literal(taken)} (format parquet)")
    connection.execute(f"create or replace temp table left_out as from read_parquet({literal(taken)}) limit 0")
    if lines := unreadable_lines(connection, one.path, one.kind):
        numbered = [(place + offset, text) for place, text in lines]
        connection.executemany("insert into left_out (row, unreadable) values (?, ?)", numbered)
    connection.execute(f"copy left_out to {literal(left_out)} (format parquet)")
    return [taken, left_out]


def _last_row(connection: duckdb.DuckDBPyConnection, parts: list[Path]) -> int:
    if not parts:
        return 0
    objects = ", ".join(literal(part) for part in parts)
    [(last,)] = connection.execute(f"select coalesce(max(row), 0) from read_parquet([{objects}])").fetchall()
    return int(last)


def _in_window(one: Input) -> str:
    """An SQL predicate: whether a row is taken from this file; one without a plausible time is, lest it be lost."""
    outside = []
    if one.since is not None:
        outside.append(f"event_at < {sql_moment(one.since)}")
    if one.before is not None:
        outside.append(f"event_at >= {sql_moment(one.before)}")
    if not outside:
        return "true"
    plausible = f"event_at >= {sql_moment(FIRST_TIME)} and event_at < {sql_moment(LAST_TIME)}"
    return f"not coalesce({plausible} and ({' or '.join(outside)}), false)"


def _usable(connection: duckdb.DuckDBPyConnection, everything: str, path: Path) -> str:
    """An SQL predicate: whether a row's time can decide which night it belongs to."""
    plausible = f"moment >= {sql_moment(FIRST_TIME)} and moment < {sql_moment(LAST_TIME)}"
    days = connection.execute(
        f"select moment::date, count(*) from {everything} where {plausible} group by 1 order by 1"
    ).fetchall()
    if not days:
        raise RecurError(
            f"{path} holds no row with a time from February 1970 to 2199: set source.path to a file with events"
        )
    end = midnight(last_real_day(days)) + timedelta(days=1)
    return f"(moment >= {sql_moment(FIRST_TIME)} and moment < {sql_moment(end)})"


def _extent(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[datetime, datetime]:
    """The earliest plausible event time and the latest moment."""
    plausible = f"filter (event_at >= {sql_moment(FIRST_TIME)})"
    found = connection.execute(f"select min(event_at) {plausible}, max(moment) from {rows}").fetchone()
    assert found is not None
    return (found[0] or found[1]).replace(tzinfo=UTC), found[1].replace(tzinfo=UTC)
