"""The mapped columns of one file of a source: where they stand in it, and how each is read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import duckdb

from pipeline.config.source import CORE_COLUMNS, TIMES, Column, Source
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.columns.described import Clock
from pipeline.sources.columns.located import (
    Nested,
    alias,
    distinct,
    header_line,
    in_path,
    nearest,
    nested,
    paths_within,
    position,
)
from pipeline.sources.columns.numbers import Evidence, canonical, survey
from pipeline.sources.columns.readings import NumberColumn, Readings
from pipeline.sources.columns.times import TimeColumn, Undecided, reading
from pipeline.sources.inputs import Input
from pipeline.sources.reading.reader import (
    DELIMITERS,
    columns_of,
    first_lines,
    numbers_of_json,
    relation,
    split_line,
    stored_numbers,
)

CLOCK = r"([01]?[0-9]|2[0-4])[:.h]?[0-5][0-9]([:.m]?[0-5][0-9])?([.,][0-9]+)?s?( ?[AaPp]\.?[Mm]\.?)?"
MOST = 0.9
JSON_ROWS = 1_000
"""How many rows are read for the names of the values within columns of JSON."""
SPARSE = ("amount", "quantity", "unit_price")
"""An event's own columns that a file may lack where other files of the source have them, as attributes may."""


@dataclass(frozen=True)
class LocalFile:
    """A file of `source`, on this machine at `path`, and how it is read: how the columns were so far, the columns that
    are kept, by recur's names, and the number of the last row read before it; `first_rows`: only so many are looked
    at; `lacking`: mapped columns that are null here, since other files have them.
    """

    input: Input
    path: Path
    source: Source
    readings: Readings
    names: Sequence[str]
    last_row: int
    first_rows: int | None = None
    lacking: frozenset[str] = frozenset()

    @property
    def of_lines(self) -> bool:
        return self.source.rows_are == "lines"

    @cached_property
    def relation(self) -> str:
        """The file as an SQL relation of texts, in which a time of several columns, and a value within a column of
        JSON, is one more. Raises ConfigurationError where a mapped column is not in the file.
        """
        mapped, made = self.input.mapped, []
        for name, of_file in mapped.items():
            if name in self.lacking:
                made.append(f"null::varchar as {alias(name)}")
            elif not isinstance(of_file, str):
                made.append(f"{_joined([self._expression(name, each) for each in of_file])} as {alias(name)}")
            elif (text := self._expression(name, of_file)) not in self._own:
                made.append(f"{text} as {alias(name)}")
        return f"(select *, {', '.join(made)} from {self._rows})" if made else self._rows

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the file, as it calls them."""
        return columns_of(self.path, self.input.kind, self.input.delimiter)

    @cached_property
    def absent(self) -> frozenset[str]:
        """The mapped columns that the file has not, and that it may lack where others have them."""
        sparse = (name for name in self.input.mapped if name in SPARSE or name not in CORE_COLUMNS)
        return frozenset(name for name in sparse if self._found(str(self.input.mapped[name])) is None)

    @cached_property
    def unmapped(self) -> list[str]:
        """What else could be mapped: the names of the other columns, dotted ones for what is within JSON."""
        columns = {column for of_file in self.input.mapped.values() for column in _all_of(of_file)}
        called = columns | {self._called(column) for column in columns}
        holding = {way.column for way in self._within.values()}
        return [name.strip() for name in self._visible if name.strip() and name not in called | holding]

    @cached_property
    def _own(self) -> list[str]:
        """The SQL identifiers of the file's columns."""
        return [quoted(name) for name in distinct(self.columns)]

    @cached_property
    def _rows(self) -> str:
        rows = relation(self.path, self.input.kind, self.columns, self.input.delimiter)
        return rows if self.first_rows is None else f"(select * from {rows} limit {self.first_rows})"

    @cached_property
    def _within(self) -> dict[str, Nested]:
        """The dotted names of what is within columns of JSON."""
        with duckdb.connect() as connection:
            texts = ", ".join(f"if(left(ltrim({own}), 1) in ('{{', '['), {own}, null)" for own in self._own)
            rows = connection.execute(f"select {texts} from (from {self._rows} limit {JSON_ROWS})").fetchall()
        within: dict[str, Nested] = {}
        for number, column in enumerate(self.columns):
            within |= paths_within(column, [row[number] for row in rows if row[number] is not None])
        return within

    @property
    def _visible(self) -> list[str]:
        return list(dict.fromkeys([*self.columns, *self._within, *in_path(self.input.address)]))

    def _found(self, column: str) -> str | Nested | None:
        """Where the file has a column: the SQL expression of its text, or where it is within another."""
        if column not in self._ways:
            self._ways[column] = self._way(column)
        return self._ways[column]

    @cached_property
    def _ways(self) -> dict[str, str | Nested | None]:
        return {}

    def _way(self, column: str) -> str | Nested | None:
        if (number := position(column, self.columns)) is not None:
            return self._own[number]
        with duckdb.connect() as connection:
            for way in nested(column, self.columns):
                own = self._own[self.columns.index(way.column)]
                first = f"select 1 from {self._rows} where {way.exists(own)} limit 1"
                if connection.execute(first).fetchall():
                    return way
        if column in self._within:
            return self._within[column]
        folders = in_path(self.input.address)
        return literal(folders[column]) if column in folders else None

    def _called(self, column: str) -> str:
        """What the file itself calls a column, in its letters."""
        number = position(column, self.columns)
        return column if number is None else self.columns[number]

    def _expression(self, name: str, column: str) -> str:
        """The SQL expression of the text of a column, which is mapped to `name`."""
        if self.columns.count(column) > 1:
            raise ConfigurationError(f"{self.path} has the column {column!r} twice: rename one of them")
        way = self._found(column)
        if way is None:
            raise ConfigurationError(
                f"source.columns.{name} is {column!r}, which {self.input.address} has not: "
                f"{nearest(column, self._visible)}{self._elsewhere}"
            )
        return way if isinstance(way, str) else way.text(self._own[self.columns.index(way.column)])

    @property
    def _elsewhere(self) -> str:
        """In words, in which line of a CSV all mapped columns are named, where it is not the first."""
        if self.input.kind != "csv":
            return ""
        names = [column for of_file in self.input.mapped.values() for column in _all_of(of_file)]
        lines = first_lines(self.path)
        for mark in (self.input.delimiter, *DELIMITERS):
            number = header_line(lines, names, partial(split_line, delimiter=mark))
            if number is not None:
                header_row = number + self.input.header_row - 1
                between = f' and source.delimiter = "{mark}"' if mark not in (None, self.input.delimiter) else ""
                return f"; its line {number} names them: set source.header_row = {header_row}{between}"
        return f", by its line {self.input.header_row}, which should name its columns (source.header_row)"

    def text(self, name: str) -> str:
        """The SQL identifier of a mapped column in the relation."""
        column = self.input.mapped[name]
        if name not in self.lacking and isinstance(column, str):
            number = position(column, self.columns)
            if number is not None:
                return self._own[number]
        return alias(name)

    def header(self, name: str) -> str:
        """What the file calls a mapped column."""
        return " and ".join(_all_of(self.input.mapped[name]))

    def times(self, connection: duckdb.DuckDBPyConnection, whole: bool = False) -> dict[str, str]:
        """SQL expressions that read the times; `whole`: all rows are looked at first. Raises Undecided where nothing
        shows what comes first in them.
        """
        readings = {name: reading(connection, self._time(name), whole) for name in TIMES if name in self.input.mapped}
        for name, time in readings.items():
            self.readings.add_time(self.input.entry, name, self.header(name), time)
        return {name: time.moment for name, time in readings.items()}

    def _time(self, name: str) -> TimeColumn:
        where, key = f"{self.input.address}: column {self.header(name)}", self.source.time_format
        order = self.readings.time(self.input.entry, name, self.header(name)).order
        return TimeColumn(self.relation, self.text(name), where, key, order)

    def numbers(self, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
        """SQL expressions of the texts of the numbers: as they stand there, where the engine reads all of them, else
        rewritten, where that can be. Raises Undecided where a value can be read in two ways, and nothing says which.
        """
        evidence = self.evidence(connection)
        seen = {name: NumberColumn(self.header(name), values) for name, values in evidence.items()}
        signs = self.readings.decided(self.input, seen, self.source.decimal_sign)
        self.readings.add(self.input.entry, seen, signs)
        texts = {name: self.text(name) for name in evidence}
        rewritten = {name: f"coalesce({canonical(text, signs[name])}, {text})" for name, text in texts.items()}
        plain = {name for name, values in evidence.items() if values.is_plain(signs[name])}
        return {name: text if name in plain else rewritten[name] for name, text in texts.items()}

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Lets the values of this file say how its columns are written, before it is read."""
        for name, values in self.evidence(connection).items():
            self.readings.look(self.input.entry, name, NumberColumn(self.header(name), values))
        with suppress(Undecided):
            self.times(connection)

    def clock(self, connection: duckdb.DuckDBPyConnection) -> Clock | None:
        """The column, not mapped, that holds the clock times of event times that are whole days; None where there is
        none, or where the two were tried together and cannot be read as a time.
        """
        column = self.input.mapped["event_time"]
        if not isinstance(column, str):
            return None
        connection.execute(f"set TimeZone = {literal(self.source.timezone)}")
        try:
            moment = self.times(connection)["event_time"]
            day = self.text("event_time")
            filled = f"from {self.relation} where trim({day}) <> '' and {moment} is not null"
            whole = f"select count(*), count_if({moment} <> date_trunc('day', {moment})) {filled}"
            [(rows, clocks)] = connection.execute(whole).fetchall()
            if rows and not clocks:
                for number, name in enumerate(self.columns):
                    if name in self.unmapped and (tried := self._tried(connection, day, number, rows)):
                        return Clock(column, name, *tried)
        except RecurError:
            return None
        finally:
            connection.execute("set TimeZone = 'UTC'")
        return None

    def _tried(self, connection: duckdb.DuckDBPyConnection, day: str, number: int, rows: int) -> tuple[str, str] | None:
        """A time of a day and the clock in another column, and how it is read; None where not nearly all are read."""
        clock = self._own[number]
        [(alike,)] = connection.execute(
            f"select count_if(regexp_full_match(trim({clock}), {literal(CLOCK)})) from {self.relation}"
        ).fetchall()
        if not alike or alike < MOST * rows:
            return None
        joined = f"(select {_joined([day, clock])} as tried from {self.relation} where trim({clock}) <> '')"
        way = reading(connection, TimeColumn(joined, "tried", self.input.address, self.source.time_format))
        moment = f"({way.moment})"
        [(read, clocks)] = connection.execute(
            f"select count({moment}), count_if({moment} <> date_trunc('day', {moment})) from {joined}"
        ).fetchall()
        if read < MOST * rows or not clocks or way.example is None or way.read is None:
            return None
        return way.example, way.read

    def find_examples(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Adds to the readings what the file has of examples, which are not stored."""
        connection.execute(f"set TimeZone = {literal(self.source.timezone)}")
        with suppress(RecurError):
            self.times(connection)
        with suppress(RecurError):
            self.numbers(connection)
        connection.execute("set TimeZone = 'UTC'")

    def evidence(self, connection: duckdb.DuckDBPyConnection) -> dict[str, Evidence]:
        """What the values of the columns of numbers show; those of numbers that are stored as such show nothing."""
        names = [name for name in self.source.numbers if name in self.input.mapped and name not in self.lacking]
        columns = {name: self._called(self.header(name)) for name in names}
        stored = self.input.numbers or stored_numbers(self.path, self.input.kind)
        texts = {name: self.text(name) for name, column in columns.items() if column not in stored}
        evidence = survey(connection, self.relation, texts)
        doubtful = [name for name, values in evidence.items() if values.ambiguous and values.shown is None]
        stored |= self._numbers_within(connection, [columns[name] for name in doubtful])
        return {name: Evidence(stored=True) if columns[name] in stored else evidence[name] for name in columns}

    def _numbers_within(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> frozenset[str]:
        """Those of `columns` whose values are numbers in JSON, and never texts."""
        ways = {column: self._found(column) for column in columns}
        within = {column: way for column, way in ways.items() if isinstance(way, Nested)}
        numbers = set[str]()
        for column, way in within.items():
            texts = f"count_if({way.is_text(self._own[self.columns.index(way.column)])})"
            [(count,)] = connection.execute(f"select {texts} from {self._rows}").fetchall()
            numbers |= set() if count else {column}
        if self.input.kind == "json_lines":
            numbers |= numbers_of_json(connection, self.path, [column for column in columns if column not in within])
        return frozenset(numbers)


def _all_of(column: Column) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column


def _joined(columns: Sequence[str]) -> str:
    """An SQL expression: the texts of several columns with blanks between, null where there is none."""
    texts = ", ".join(f"nullif(trim({column}), '')" for column in columns)
    return f"nullif(concat_ws(' ', {texts}), '')"
