"""One file of a source as an SQL relation of texts: where its mapped columns stand, and what else it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import duckdb

from pipeline.config.source import CORE_COLUMNS, Column
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.errors import ConfigurationError
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

JSON_ROWS = 1_000
"""How many rows are read for the names of the values within columns of JSON."""
SPARSE = ("amount", "quantity", "unit_price")
"""An event's own columns that a file may lack where other files of the source have them, as attributes may."""


@dataclass(frozen=True)
class FileRelation:
    """The file `input`, on this machine at `path`. `first_rows`: only so many are looked at; `lacking`: mapped columns
    that are null here, since other files have them.
    """

    input: Input
    path: Path
    first_rows: int | None = None
    lacking: frozenset[str] = frozenset()

    @cached_property
    def sql(self) -> str:
        """All rows as texts, in which a time of several columns, and a value within JSON, is one more column. Raises
        ConfigurationError where a mapped column is not in the file.
        """
        mapped, made = self.input.mapped, []
        for name, of_file in mapped.items():
            if name in self.lacking:
                made.append(f"null::varchar as {alias(name)}")
            elif not isinstance(of_file, str):
                made.append(f"{joined([self._expression(name, each) for each in of_file])} as {alias(name)}")
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
    def stored_as_numbers(self) -> frozenset[str]:
        """The mapped columns whose values are stored as numbers."""
        stored = self.input.numbers or stored_numbers(self.path, self.input.kind)
        return frozenset(name for name in self.input.mapped if self._called(self.header(name)) in stored)

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

    def own(self, column: str) -> str:
        """The SQL identifier of a column that the file itself calls so."""
        return self._own[self.columns.index(column)]

    def numbers_in_json(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> frozenset[str]:
        """Those of the mapped columns `names` whose values are numbers in JSON, and never texts."""
        columns = {name: self._called(self.header(name)) for name in names}
        ways = {name: self._found(column) for name, column in columns.items()}
        within = {name: way for name, way in ways.items() if isinstance(way, Nested)}
        numbers = set[str]()
        for name, way in within.items():
            texts = f"count_if({way.is_text(self.own(way.column))})"
            [(count,)] = connection.execute(f"select {texts} from {self._rows}").fetchall()
            numbers |= set() if count else {name}
        if self.input.kind == "json_lines":
            of_json = numbers_of_json(connection, self.path, [columns[name] for name in names if name not in within])
            numbers |= {name for name in names if columns[name] in of_json}
        return frozenset(numbers)

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
                own = self.own(way.column)
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
        return way if isinstance(way, str) else way.text(self.own(way.column))

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


def _all_of(column: Column) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column


def joined(columns: Sequence[str]) -> str:
    """An SQL expression: the texts of several columns with blanks between, null where there is none."""
    texts = ", ".join(f"nullif(trim({column}), '')" for column in columns)
    return f"nullif(concat_ws(' ', {texts}), '')"
