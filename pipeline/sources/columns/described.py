"""How each mapped column of a source was read, in words, with what a reader should look at."""

from typing import NamedTuple

import duckdb

from pipeline.config.source import CORE_COLUMNS, TIMES, Source
from pipeline.runtime.engine import quoted
from pipeline.sources.columns.ids import LEAST, figures
from pipeline.sources.columns.numbers import canonical
from pipeline.sources.columns.readings import NumberReading, Readings, StoredTime
from pipeline.sources.expressions import plausible

NAMED_TYPES = 8
APART_DAYS, APART, APART_SHARE = 21, 5, 0.01
"""So many days without a row, and times the longest usual, before so small a share of all rows, are mistakes."""
DECIMAL = {".": "a decimal point", ",": "a decimal comma", None: "whole numbers"}


class Clock(NamedTuple):
    """A column that is not mapped, and that holds the clock times of days in the column of event times: what the file
    calls the two, and a time that they were tried on, as it is written and, in UTC, as it is read.
    """

    day: str
    column: str
    example: str
    read: str

    @property
    def words(self) -> str:
        return (
            f"these times are whole days, and the column {self.column} holds clocks: with source.columns.event_time = "
            f'["{self.day}", "{self.column}"], {self.example!r} is {self.read}'
        )


class SourceValues(NamedTuple):
    """All rows of a source as an SQL relation of texts (with `row`, `unreadable`, and the first column of times as
    `event_at`), their columns by recur's names, how these were read, and what else the last file has that could be
    mapped.
    """

    rows: str
    columns: tuple[str, ...]
    readings: Readings
    unmapped: tuple[str, ...] = ()
    clock: Clock | None = None


class ColumnWords(NamedTuple):
    """How a column was read, and what of it is doubtful."""

    name: str
    words: str
    doubts: tuple[str, ...] = ()


def described(connection: duckdb.DuckDBPyConnection, values: SourceValues, source: Source) -> list[ColumnWords]:
    """Every column that the source maps, in its order."""
    counts = _counts(connection, values, source)
    words = []
    for name in values.columns:
        times = [time for key, time in values.readings.times.items() if key.split(" ")[1] == name]
        numbers = [number for key, number in values.readings.numbers.items() if key.split(" ")[1] == name]
        if name == "customer_id":
            words.append(_ids(connection, values, source))
        elif name in counts and not times and not numbers:
            words.append(ColumnWords(name, f"read by an earlier recur{counts[name].words}"))
        elif times:
            words.append(_times(connection, values, name, counts[name], source))
        elif numbers:
            words.append(_numbers(connection, name, numbers, counts[name], source))
        else:
            words.append(_texts(connection, values, name, source))
    return words


class _Counts(NamedTuple):
    """Of a column: how many values there are, how many are empty, how many cannot be read, an example of these, the
    first and the last.
    """

    rows: int
    empty: int
    unreadable: int
    example: str | None
    first: str | None
    last: str | None

    @property
    def words(self) -> str:
        empty = f"; {self.empty:,} are empty" if self.empty else ""
        return empty + (f"; {self.unreadable:,} cannot be read, as {self.example!r}" if self.unreadable else "")


def _counts(connection: duckdb.DuckDBPyConnection, values: SourceValues, source: Source) -> dict[str, _Counts]:
    """The counts of times and numbers, in one reading of all rows."""
    names = [name for name in values.columns if name in TIMES or name in source.numbers]
    selected = []
    for name in names:
        text = f"nullif(trim({quoted(name)}), '')"
        read = f"ends_with({text}, '+00')" if name in TIMES else f"try_cast({text} as double) is not null"
        real = f"{read} and {plausible('event_at')}"
        ends = f"min({text}) filter ({real}), max({text}) filter ({real})" if name in TIMES else "null, null"
        unread = f"{text} is not null and not {read}"
        selected.append(
            f"count(*), count_if({text} is null), count_if({unread}), min({text}) filter ({unread}), {ends}"
        )
    [row] = connection.execute(f"select {', '.join(selected)} from {values.rows} where unreadable is null").fetchall()
    return {name: _Counts(*row[6 * number : 6 * number + 6]) for number, name in enumerate(names)}


def _times(
    connection: duckdb.DuckDBPyConnection, values: SourceValues, name: str, counts: _Counts, source: Source
) -> ColumnWords:
    times = [time for key, time in values.readings.times.items() if key.split(" ")[1] == name]
    doubts = []
    if name == "event_time" and values.clock is not None:
        doubts.append(values.clock.words)
    if name == "event_time" and (apart := _apart(connection, values)) is not None:
        doubts.append(apart)
    ways = ", ".join(dict.fromkeys(way for time in times for way in time.written))
    example = next((f", {time.example!r} is {time.read}" for time in times if time.read), "")
    span = f"; {counts.first[:10]} to {counts.last[:10]}" if counts.first and counts.last else ""
    zone = f"; where none is named, in {source.timezone}"
    return ColumnWords(name, f"{_headers(times)}: times by {ways}{example}{span}{zone}{counts.words}", tuple(doubts))


def _apart(connection: duckdb.DuckDBPyConnection, values: SourceValues) -> str | None:
    """In words, that few rows lie after a long time without any, as mistaken dates do."""
    days = f"select event_at::date as day, count(*) as rows from {values.rows} where {plausible('event_at')} group by 1"
    gaps = "select *, lead(day) over (order by day) as next, sum(rows) over (order by day desc) as after from days"
    [(gap, day, following, after, rows, usual)] = connection.execute(
        f"""
        with days as ({days}), gaps as ({gaps}),
            gap as (from gaps where next is not null order by next - day desc, day desc limit 1)
        select next - day, day, next, after - rows, (select sum(rows) from days),
            (select quantile_cont(next - day, 0.99) from gaps where next is not null and day <> (select day from gap))
        from (select 1) left join gap on true
        """
    ).fetchall()
    if gap is None or gap < APART_DAYS or gap < APART * (usual or 1) or after > APART_SHARE * rows:
        return None
    last = f"select max(event_at)::date from {values.rows} where {plausible('event_at')}"
    [(end,)] = connection.execute(last).fetchall()
    return (
        f"after {day} no row comes for {gap} days, and then {int(after):,} from {following} to {end}: where these are "
        "mistaken or planned, correct or leave them out, since nights go on to the last day that has a row"
    )


def _numbers(
    connection: duckdb.DuckDBPyConnection, name: str, numbers: list[NumberReading], counts: _Counts, source: Source
) -> ColumnWords:
    if counts.unreadable > (counts.rows - counts.empty) / 2 and name not in CORE_COLUMNS:
        named = ", ".join(f'"{each}"' for each in (*source.categorical, name))
        doubt = f"most of its values are no numbers: where it is text, set source.categorical = [{named}]"
        return ColumnWords(name, f"{_headers(numbers)}: an attribute to be read as a number{counts.words}", (doubt,))
    if all(number.stored for number in numbers):
        return ColumnWords(name, f"{_headers(numbers)}: stored as numbers{counts.words}")
    signs = " or ".join(dict.fromkeys(DECIMAL[number.decimal] for number in numbers))
    between = "".join(sorted({mark for number in numbers for mark in number.thousands}))
    money = sorted({text for number in numbers for text in number.money})
    written = next((number for number in numbers if number.example), None)
    words = f"{_headers(numbers)}: {signs}" + (f", {between!r} between thousands" if between else "")
    words += f", in {' and '.join(money)}" if money else ""
    if written is not None and written.example is not None:
        query = f"select coalesce({canonical('$text', written.decimal)}, $text)"
        [(value,)] = connection.execute(query, {"text": written.example}).fetchall()
        words += f", {written.example!r} is {value}"
    nothing = next((number.nothing for number in numbers if number.nothing), None)
    words += f", {nothing!r} is empty" if nothing is not None else ""
    doubts = (f"amounts in {' and '.join(money)} are added as they are",) if len(money) > 1 else ()
    return ColumnWords(name, words + counts.words, doubts)


def _ids(connection: duckdb.DuckDBPyConnection, values: SourceValues, source: Source) -> ColumnWords:
    nobody = {name.lower() for name in source.nobody}
    ids = figures(connection, values.rows, "customer_id", sorted(nobody))
    if ids is None:
        return ColumnWords("customer_id", "no row names a customer")
    doubts = []
    if ids.shortened:
        doubts.append(
            f"{ids.shortened:,} ids are written as 1.23E+11, or as floats of 16 digits and more, to which programs cut "
            "long numbers: customers whose ids differ in the last digits are one here; export the ids as text"
        )
    if ids.alike is not None:
        doubts.append(
            f"the {ids.folded:,} ids are {ids.loose:,} without blanks, marks and ways to write an accent, as "
            f"{ids.alike[0]!r} and {ids.alike[1]!r}: where they are the same customers, write them in one way"
        )
    if ids.ids == ids.rows >= LEAST:
        doubts.append(
            f"each of the {ids.rows:,} rows has an id of its own, so nobody ever comes back: map the customer's id, "
            "and the row's as event_id"
        )
    if ids.folded < ids.ids:
        doubts.append(
            f"the {ids.ids:,} ids are {ids.folded:,} without regard to case: where they are the same customers, set "
            "source.fold_case = true"
        )
    if ids.stripped < ids.ids:
        doubts.append(
            f"the {ids.ids:,} ids are {ids.stripped:,} without zeros before and .0 behind: where they are the same "
            "customers, set source.strip_zeros = true"
        )
    if ids.is_implausible:
        doubts.append(
            f"{ids.most!r} has {ids.most_rows:,} of {ids.rows:,} rows, the next id {ids.next_rows:,}: where it means "
            f'nobody, set source.nobody = ["{ids.most}"]'
        )
    if others := {name: rows for name, rows in ids.placeholders.items() if name != ids.most or not ids.is_implausible}:
        listed = ", ".join(f"{name!r} ({rows:,} rows)" for name, rows in others.items())
        doubts.append(f"{listed} may mean nobody: where they do, name them in source.nobody")
    return ColumnWords("customer_id", f"{ids.ids:,} ids in {ids.rows:,} rows", tuple(doubts))


def _texts(connection: duckdb.DuckDBPyConnection, values: SourceValues, name: str, source: Source) -> ColumnWords:
    text = f"nullif(trim({quoted(name)}), '')"
    if name == "event_id":
        return _event_ids(connection, values, source)
    counted = f"select {text} as value, count(*) as rows from {values.rows} group by 1"
    rows = connection.execute(f"{counted} order by 2 desc, 1").fetchmany(NAMED_TYPES + 1)
    listed = ", ".join(f"{'empty' if value is None else value} ({count:,})" for value, count in rows[:NAMED_TYPES])
    alike = f"select string_agg(value, ', ' order by rows desc, value) from ({counted}) group by lower(value)"
    spelled = connection.execute(f"{alike} having count(*) > 1 order by sum(rows) desc, 1 limit 1").fetchall()
    doubts = [f"{names} differ in case alone, and are types of their own: name each of them" for (names,) in spelled]
    words = listed + (", and more" if len(rows) > NAMED_TYPES else "")
    return ColumnWords(name, words, tuple(doubts) if name == "event_type" else ())


def _event_ids(connection: duckdb.DuckDBPyConnection, values: SourceValues, source: Source) -> ColumnWords:
    text = "nullif(trim(event_id), '')"
    digest = f"hash({text})"
    [(empty,)] = connection.execute(f"select count_if({text} is null) from {values.rows}").fetchall()
    words = "ids of events" + (f"; {empty:,} are empty" if empty else "")
    if source.rows_are == "lines" or "known_time" in values.columns:
        return ColumnWords("event_id", words)
    # Digests first, which costs a fraction: few ids, or none, are of several rows.
    twice = f"select {digest} from {values.rows} where {text} is not null group by pull, {digest} having count(*) > 1"
    content = f"hash(row({', '.join(quoted(name) for name in values.columns)}))"
    differing = f"""
        select {text} as id, count(*) as rows from {values.rows} where {digest} in ({twice})
        group by pull, {text} having count(distinct {content}) > 1
    """
    query = f"select count(*), sum(rows), min(id) from ({differing})"
    [(ids, rows, example)] = connection.execute(query).fetchall()
    if not ids:
        return ColumnWords("event_id", words)
    doubt = (
        f"{ids:,} ids, as {example!r}, are of several rows ({int(rows):,}) that differ, and are set aside: where these "
        'are the lines of one order, set source.rows_are = "lines"'
    )
    return ColumnWords("event_id", words, (doubt,))


def _headers(readings: list[StoredTime] | list[NumberReading]) -> str:
    return ", ".join(dict.fromkeys(reading.column for reading in readings))
