"""One file of a source, read into a part of the index: its rows as mapped text beside the instant that decides a row's
night, `moment`: the known time where the source maps one, else the event time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from pipeline.runtime.engine import PARQUET, literal, quoted
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.inputs import Input
from pipeline.sources.reader import columns_of, relation, row_number, unreadable_lines
from pipeline.sources.times import reading

FIRST_TIME = datetime(1970, 2, 1, tzinfo=UTC)  # January 1970: an empty clock, or seconds taken for milliseconds
LAST_TIME = datetime(2200, 1, 1, tzinfo=UTC)
UNIT, NOTHING = "chr(31)", "chr(30)"  # ASCII's own separators: they part the values of a row, and stand for null


def sql_moment(moment: datetime) -> str:
    """`moment` as an SQL timestamp without a zone, in UTC, as the index has them."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def plausible(column: str) -> str:
    """An SQL predicate: whether a time can be a real one at all."""
    return f"({column} >= {sql_moment(FIRST_TIME)} and {column} < {sql_moment(LAST_TIME)})"


def write_rows(
    connection: duckdb.DuckDBPyConnection,
    one: Input,
    path: Path,
    timezone: str,
    names: Sequence[str],
    after: int,
    part: Path,
) -> None:
    """Writes every row of the file at `path` to `part`: `row` (their numbers, from `after` + 1 on), `unreadable` (the
    line itself, where it could not be taken apart), `stray` (false), `event_at`, `moment`, and `names` as text, their
    times in ISO and UTC where they can be read.

    Raises RecurError where the file cannot be read, ConfigurationError where it has not the columns that are mapped.
    """
    there = columns_of(path, one.kind)
    for name, column in one.mapped.items():
        if column not in there:
            raise ConfigurationError(
                f"source.columns.{name} is {column!r}, which {one.address} has not: it has {', '.join(there)}"
            )
    connection.execute(f"set TimeZone = {literal(timezone)}")
    try:
        _write(connection, one, path, there, names, after, part)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if "state machine" in reason:  # all that the engine says of it
            reason = "its lines end in more than one way (\\n, \\r\\n, \\r), or are no lines of text"
        raise RecurError(f"{one.address} cannot be read: {reason}: mend or replace it") from None
    finally:
        connection.execute("set TimeZone = 'UTC'")


def _write(
    connection: duckdb.DuckDBPyConnection,
    one: Input,
    path: Path,
    there: list[str],
    names: Sequence[str],
    after: int,
    part: Path,
) -> None:
    file = relation(path, one.kind, there)
    times = {}
    for name in ("event_time", "known_time"):
        if name in one.mapped:
            where = f"{one.address}: column {one.mapped[name]}"
            times[name] = reading(connection, file, quoted(one.mapped[name]), where)
    moment = times.get("known_time", times["event_time"])
    selected = [f"{times['event_time']} at time zone 'UTC' as event_at", f"{moment} at time zone 'UTC' as moment"]
    for name in names:
        column = quoted(one.mapped[name])
        iso = f"({times[name]} at time zone 'UTC')::varchar || '+00'" if name in times else None
        selected.append(f"{f'coalesce({iso}, {column})' if iso else column} as {quoted(name)}")
    columns = f"null::varchar as unreadable, false as stray, {', '.join(selected)}"
    rows = f"select * from (select {row_number(one.kind)} + {after} as row, {columns} from {file})"
    connection.execute(f"copy ({rows} where {_in_window(one)}) to {literal(part)} ({PARQUET})")
    if lines := unreadable_lines(connection, path, one.kind):
        connection.execute(f"create or replace temp table left_out as from read_parquet({literal(part)}) limit 0")
        numbered = [(place + after, text) for place, text in lines]
        connection.executemany("insert into left_out (row, unreadable, stray) values (?, ?, false)", numbered)
        both = f"from read_parquet({literal(part)}) union all from left_out"
        # A line left out bears the number of the row before it: all are numbered anew, so that no two share one.
        number = f"row_number() over (order by row, unreadable nulls first) + {after} as row"
        _rewrite(connection, f"select * replace ({number}) from ({both}) order by row", part)


def usable(end: datetime) -> str:
    """An SQL predicate: whether a row's time can decide which night it belongs to."""
    return f"coalesce(moment >= {sql_moment(FIRST_TIME)} and moment < {sql_moment(end)}, false)"


def write_strays(
    connection: duckdb.DuckDBPyConnection, part: Path, end: datetime, last: datetime | None, strays: Path
) -> bool:
    """Writes the rows of `part` without a usable time (missing, unreadable, before February 1970, or at or after `end`,
    a mistaken date far after all others) to `strays`, with the moment of the row before them, else of the part's first
    row that has one, else `last`: they are not lost, and validation sets them aside in that night. Gives whether there
    are any.
    """
    rows, good = f"read_parquet({literal(part)})", usable(end)
    [(count, first)] = connection.execute(
        f"select count_if(not {good}), arg_min(moment, row) filter ({good}) from {rows}"
    ).fetchall()
    if not count:
        return False
    start = sql_moment((first.replace(tzinfo=UTC) if first else last) or FIRST_TIME)
    query = f"""
        select stray.* replace (true as stray, coalesce(before.moment, {start}) as moment)
        from (select * from {rows} where not {good}) stray
        asof left join (select row, moment from {rows} where {good}) before on stray.row >= before.row
        order by row
    """
    connection.execute(f"copy ({query}) to {literal(strays)} ({PARQUET})")
    return True


def differences(
    connection: duckdb.DuckDBPyConnection, part: Path, earlier: Sequence[str], names: Sequence[str], gone: Path
) -> None:
    """Leaves in `part` the rows that the file did not hold when it was read before, and writes the numbers of those
    that it no longer holds to `gone`. `earlier` are SQL relations of what it held. Equal rows are told apart by number.
    """
    said = ", ".join(f"coalesce({quoted(name)}, {NOTHING})" for name in ("unreadable", *names))
    digest = f"md5(concat_ws({UNIT}, {said}))"

    def numbered(rows: str) -> str:
        return (
            f"(select row, digest, row_number() over (partition by digest order by row) as number "
            f"from (select row, {digest} as digest from ({rows})))"
        )

    now, before = numbered(f"from read_parquet({literal(part)})"), numbered(" union all ".join(earlier))
    missing = f"select row from {before} anti join {now} using (digest, number) order by row"
    connection.execute(f"copy ({missing}) to {literal(gone)} ({PARQUET})")
    new = f"select row from {now} anti join {before} using (digest, number)"
    _rewrite(connection, f"from read_parquet({literal(part)}) where row in ({new}) order by row", part)


def _rewrite(connection: duckdb.DuckDBPyConnection, query: str, part: Path) -> None:
    other = part.with_name(f"{part.name}.rewritten")
    connection.execute(f"copy ({query}) to {literal(other)} ({PARQUET})")
    other.replace(part)


def _in_window(one: Input) -> str:
    """An SQL predicate: whether a row is taken from this file; one without a plausible time is, lest it be lost."""
    outside = []
    if one.since is not None:
        outside.append(f"event_at < {sql_moment(one.since)}")
    if one.before is not None:
        outside.append(f"event_at >= {sql_moment(one.before)}")
    if not outside:
        return "true"
    return f"not coalesce({plausible('event_at')} and ({' or '.join(outside)}), false)"
