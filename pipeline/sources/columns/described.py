"""How each mapped column of a source was read, in words, with what a reader should look at."""

from typing import NamedTuple

import duckdb

from pipeline.config.source import TIMES, Source
from pipeline.runtime.engine import quoted
from pipeline.sources.columns.ids import figures
from pipeline.sources.columns.numbers import canonical
from pipeline.sources.columns.readings import NumberReading, Readings, StoredTime
from pipeline.sources.expressions import plausible

NAMED_TYPES = 8
DECIMAL = {".": "a decimal point", ",": "a decimal comma", None: "whole numbers"}


class SourceValues(NamedTuple):
    """All rows of a source as an SQL relation of texts (with `row`, `unreadable`, and the first column of times as
    `event_at`), their columns by recur's names, and how these were read.
    """

    rows: str
    columns: tuple[str, ...]
    readings: Readings


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
            words.append(_times(name, times, counts[name], source))
        elif numbers:
            words.append(_numbers(connection, name, numbers, counts[name]))
        else:
            words.append(_texts(connection, values, name))
    return words


class _Counts(NamedTuple):
    """Of a column: how many values are empty, how many cannot be read, an example of these, the first and the last."""

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
        selected.append(f"count_if({text} is null), count_if({unread}), min({text}) filter ({unread}), {ends}")
    [row] = connection.execute(f"select {', '.join(selected)} from {values.rows} where unreadable is null").fetchall()
    return {name: _Counts(*row[5 * number : 5 * number + 5]) for number, name in enumerate(names)}


def _times(name: str, times: list[StoredTime], counts: _Counts, source: Source) -> ColumnWords:
    ways = ", ".join(dict.fromkeys(way for time in times for way in time.written))
    example = next((f", {time.example!r} is {time.read}" for time in times if time.read), "")
    span = f"; {counts.first[:10]} to {counts.last[:10]}" if counts.first and counts.last else ""
    zone = f"; where none is named, in {source.timezone}"
    return ColumnWords(name, f"{_headers(times)}: times by {ways}{example}{span}{zone}{counts.words}")


def _numbers(
    connection: duckdb.DuckDBPyConnection, name: str, numbers: list[NumberReading], counts: _Counts
) -> ColumnWords:
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
    doubts = (f"amounts in {' and '.join(money)} are added as they are",) if len(money) > 1 else ()
    return ColumnWords(name, words + counts.words, doubts)


def _ids(connection: duckdb.DuckDBPyConnection, values: SourceValues, source: Source) -> ColumnWords:
    nobody = {name.lower() for name in source.nobody}
    ids = figures(connection, values.rows, "customer_id", sorted(nobody))
    if ids is None:
        return ColumnWords("customer_id", "no row names a customer")
    doubts = []
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


def _texts(connection: duckdb.DuckDBPyConnection, values: SourceValues, name: str) -> ColumnWords:
    text = f"nullif(trim({quoted(name)}), '')"
    if name == "event_id":
        [(empty,)] = connection.execute(f"select count_if({text} is null) from {values.rows}").fetchall()
        return ColumnWords(name, "ids of events" + (f"; {empty:,} are empty" if empty else ""))
    counted = f"select {text} as value, count(*) as rows from {values.rows} group by 1 order by 2 desc, 1"
    rows = connection.execute(counted).fetchmany(NAMED_TYPES + 1)
    listed = ", ".join(f"{'empty' if value is None else value} ({count:,})" for value, count in rows[:NAMED_TYPES])
    return ColumnWords(name, listed + (", and more" if len(rows) > NAMED_TYPES else ""))


def _headers(readings: list[StoredTime] | list[NumberReading]) -> str:
    return ", ".join(dict.fromkeys(reading.column for reading in readings))
