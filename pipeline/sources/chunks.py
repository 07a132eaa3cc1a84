"""One file of a source, read into a chunk of the index: its rows as mapped text beside the instant that decides a row's
night, `moment`: the known time where the source maps one, else the event time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline.runtime.engine import PARQUET, literal, quoted
from pipeline.runtime.errors import RecurError
from pipeline.sources.columns.file_columns import LocalFile
from pipeline.sources.columns.ids import id_text
from pipeline.sources.columns.times import RARE
from pipeline.sources.expressions import FIRST_TIME, plausible, row_digest, sql_moment
from pipeline.sources.inputs import Input
from pipeline.sources.reading.reader import row_number, unreadable_lines


def write_rows(connection: duckdb.DuckDBPyConnection, file: LocalFile, chunk: Path) -> None:
    """Writes every row of `file` to `chunk`: `row` (their numbers), `unreadable` (the line itself, where it could not
    be taken apart), `stray` (false), `event_at`, `moment`, and the kept columns as text, their times in ISO and UTC
    where they can be read.

    Raises RecurError where the file cannot be read, ConfigurationError where a mapped column is not in it, Undecided
    where one can be read in two ways.
    """
    source = file.relation.sql
    connection.execute(f"set TimeZone = {literal(file.source.timezone)}")
    try:
        _write(connection, file, source, chunk)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if "state machine" in reason:  # all that the engine says of it
            reason = "its lines end in more than one way (\\n, \\r\\n, \\r), or are no lines of text"
        raise RecurError(f"{file.relation.input.address} cannot be read: {reason}: fix or replace it") from None
    finally:
        connection.execute("set TimeZone = 'UTC'")


def _write(connection: duckdb.DuckDBPyConnection, file: LocalFile, source: str, chunk: Path) -> None:
    times = file.times(connection)
    _write_read(connection, file, source, chunk, times)
    if _unread(connection, chunk):
        _write_read(connection, file, source, chunk, file.times(connection, whole=True))
    if file.of_lines:
        _inherit(connection, file, chunk)
    if lines := unreadable_lines(
        connection, file.relation.path, file.relation.input.kind, file.relation.input.header_row
    ):
        _add_unreadable(connection, lines, file.last_row, chunk)


def _unread(connection: duckdb.DuckDBPyConnection, chunk: Path) -> bool:
    """Whether more times could not be read than mistakes are, so that later rows may be written in another way."""
    text = "nullif(trim(event_time), '')"
    unread = f"count_if({text} is not null and not ends_with({text}, '+00')) > {RARE} * count({text})"
    [(more,)] = connection.execute(f"select {unread} from read_parquet({literal(chunk)})").fetchall()
    return bool(more)


def _write_read(
    connection: duckdb.DuckDBPyConnection, file: LocalFile, source: str, chunk: Path, times: Mapping[str, str]
) -> None:
    """Writes the rows, with the times that these SQL expressions read."""
    kind, numbers = file.relation.input.kind, file.numbers(connection)
    moment = times.get("known_time", times["event_time"])
    selected = [f"{times['event_time']} at time zone 'UTC' as event_at", f"{moment} at time zone 'UTC' as moment"]
    for name in file.names:
        text = id_text(numbers.get(name, file.relation.text(name)), name, file.source)
        if name in times:
            text = f"coalesce(({times[name]} at time zone 'UTC')::varchar || '+00', {text})"
        selected.append(f"{text} as {quoted(name)}")
    row = f"{row_number(kind)} + {file.last_row} as row"
    rows = f"select {row}, null::varchar as unreadable, false as stray, {', '.join(selected)} from {source}"
    # Lines without a time of their own may inherit one that lies outside of what is taken from the file.
    query = rows if file.of_lines else f"select * from ({rows}) where {_in_window(file.relation.input)}"
    connection.execute(f"copy ({query}) to {literal(chunk)} ({PARQUET})")


INHERITED = ("customer_id", "event_time", "event_type")


def _inherit(connection: duckdb.DuckDBPyConnection, file: LocalFile, chunk: Path) -> None:
    """Gives the lines of an event that name no customer, time or type those of its first line that does, as exports
    write them once an order; then leaves in `chunk` the lines that are taken from the file.
    """
    rows, within = f"read_parquet({literal(chunk)})", _in_window(file.relation.input)
    empty = {name: f"coalesce(trim({name}), '') = ''" for name in INHERITED if name in file.names}
    heirs = f"from {rows} where trim(event_id) <> '' and ({' or '.join(empty.values())})"
    [(count,)] = connection.execute(f"select count(*) {heirs}").fetchall()
    if not count and within == "true":
        return
    first = [f"arg_min({name}, row) filter (not {predicate}) as {name}" for name, predicate in empty.items()]
    first.append(f"arg_min(event_at, row) filter (not {empty['event_time']}) as event_at")
    givers = f"""
        select trim(event_id) as event, {", ".join(first)} from {rows}
        where trim(event_id) in (select trim(event_id) {heirs}) group by 1
    """
    own = {name: predicate.replace(name, f"line.{name}") for name, predicate in empty.items()}
    taken = [
        f"case when {predicate} then coalesce(giver.{name}, line.{name}) else line.{name} end as {name}"
        for name, predicate in own.items()
    ]
    taken += [
        f"case when {own['event_time']} then giver.event_at else line.{name} end as {name}"
        for name in ("event_at", "moment")
    ]
    query = f"""
        select line.* replace ({", ".join(taken)}) from {rows} line
        left join ({givers}) giver on trim(line.event_id) = giver.event
    """
    _rewrite(connection, f"select * from ({query}) where {within} order by row", chunk)


def _add_unreadable(
    connection: duckdb.DuckDBPyConnection, lines: list[tuple[int, str]], last_row: int, chunk: Path
) -> None:
    """Adds the lines that could not be taken apart, each with the number of the row before it, to `chunk`."""
    connection.execute(f"create or replace temp table left_out as from read_parquet({literal(chunk)}) limit 0")
    numbered = [(row + last_row, text) for row, text in lines]
    connection.executemany("insert into left_out (row, unreadable, stray) values (?, ?, false)", numbered)
    rows = f"from read_parquet({literal(chunk)}) union all from left_out"
    # All rows are numbered again, so that no two share a number.
    number = f"row_number() over (order by row, unreadable nulls first) + {last_row} as row"
    _rewrite(connection, f"select * replace ({number}) from ({rows}) order by row", chunk)


def usable(end: datetime) -> str:
    """An SQL predicate: whether a row's time can decide which night it belongs to."""
    return f"coalesce(moment >= {sql_moment(FIRST_TIME)} and moment < {sql_moment(end)}, false)"


def write_malformed(
    connection: duckdb.DuckDBPyConnection, chunk: Path, end: datetime, last: datetime | None, malformed: Path
) -> bool:
    """Writes the rows of `chunk` without a usable time (missing, unreadable, before February 1970, or at or after
    `end`, a mistaken date far after all others) to `malformed`, with the moment of the row before them, else of the
    chunk's first row that has one, else `last`: they are not lost, and validation sets them aside in that night.
    Returns whether there are any.
    """
    rows, good = f"read_parquet({literal(chunk)})", usable(end)
    [(count, first)] = connection.execute(
        f"select count_if(not {good}), arg_min(moment, row) filter ({good}) from {rows}"
    ).fetchall()
    if not count:
        return False
    start = sql_moment((first.replace(tzinfo=UTC) if first else last) or FIRST_TIME)
    query = f"""
        select malformed.* replace (true as stray, coalesce(before.moment, {start}) as moment)
        from (select * from {rows} where not {good}) malformed
        asof left join (select row, moment from {rows} where {good}) before on malformed.row >= before.row
        order by row
    """
    connection.execute(f"copy ({query}) to {literal(malformed)} ({PARQUET})")
    return True


@dataclass(frozen=True)
class EarlierRows:
    """What the index has of a file and, where rows that two files have are the same, of others (None: nothing), as SQL
    queries; `deletions` is where the numbers of the file's rows go that it no longer holds.
    """

    of_file: str | None
    of_others: str | None
    deletions: Path


class RowChanges(NamedTuple):
    """How many of a file's rows others have, which are left to these, and how many of its own it no longer holds."""

    repeats: int
    deleted: int


def keep_new_rows(
    connection: duckdb.DuckDBPyConnection, chunk: Path, earlier: EarlierRows, names: Sequence[str]
) -> RowChanges:
    """Leaves in `chunk` the rows that the index has not yet. Equal rows are counted: where a file holds three and the
    index has two, of whichever files, the third is new.
    """
    digest = row_digest(quoted(name) for name in ("unreadable", *names))

    def numbered(rows: str) -> str:
        return (
            f"(select row, digest, row_number() over (partition by digest order by row) as number "
            f"from (select row, {digest} as digest from ({rows})))"
        )

    now, changed, deleted = numbered(f"from read_parquet({literal(chunk)})"), "now", 0
    connection.execute(f"create or replace temp table now as from {now}")
    if earlier.of_file is not None:
        connection.execute(f"create or replace temp table before as from {numbered(earlier.of_file)}")
        missing = "select row from before anti join now using (digest, number) order by row"
        [(deleted,)] = connection.execute(f"copy ({missing}) to {literal(earlier.deletions)} ({PARQUET})").fetchall()
        changed = "(from now anti join before using (digest, number))"
    new = f"from {changed}"
    if earlier.of_others is not None:
        both = " union all ".join(query for query in (earlier.of_file, earlier.of_others) if query is not None)
        new = f"from now anti join {numbered(both)} using (digest, number)"
    connection.execute(f"create or replace temp table new as select row {new}")
    [(repeats,)] = connection.execute(f"select (select count(*) from {changed}) - count(*) from new").fetchall()
    rows = f"from read_parquet({literal(chunk)}) where row in (from new) order by row"
    _rewrite(connection, rows, chunk)
    return RowChanges(repeats, deleted)


def _rewrite(connection: duckdb.DuckDBPyConnection, query: str, chunk: Path) -> None:
    other = chunk.with_name(f"{chunk.name}.rewritten")
    connection.execute(f"copy ({query}) to {literal(other)} ({PARQUET})")
    other.replace(chunk)


def _in_window(file: Input) -> str:
    """An SQL predicate: whether a row is taken from this file; one without a plausible time is, lest it be lost."""
    outside = []
    if file.since is not None:
        outside.append(f"event_at < {sql_moment(file.since)}")
    if file.before is not None:
        outside.append(f"event_at >= {sql_moment(file.before)}")
    if not outside:
        return "true"
    return f"not coalesce({plausible('event_at')} and ({' or '.join(outside)}), false)"
