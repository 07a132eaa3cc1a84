"""The mapped columns of one file of a source: where they stand in it, and how each is read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from pipeline.config.source import TIMES, Column, Source
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.columns.numbers import Evidence, canonical, survey
from pipeline.sources.columns.readings import NumberColumn, Readings
from pipeline.sources.columns.times import TimeColumn, Undecided, reading
from pipeline.sources.inputs import Input
from pipeline.sources.reader import columns_of, numbers_of_json, relation, stored_numbers


@dataclass(frozen=True)
class LocalFile:
    """A file of `source`, on this machine at `path`, and how it is read: how the columns were so far, the columns that
    are kept, by recur's names, and the number of the last row read before it; `first_rows`: only so many are looked
    at.
    """

    input: Input
    path: Path
    source: Source
    readings: Readings
    names: Sequence[str]
    last_row: int
    first_rows: int | None = None

    @property
    def of_lines(self) -> bool:
        return self.source.rows_are == "lines"

    @cached_property
    def relation(self) -> str:
        """The file as an SQL relation of texts, in which a time of several columns is one. Raises ConfigurationError
        where a mapped column is not in the file.
        """
        columns, mapped = columns_of(self.path, self.input.kind, self.input.delimiter), self.input.mapped
        for name, of_file in mapped.items():
            for column in set(_all_of(of_file)) - set(columns):
                raise ConfigurationError(
                    f"source.columns.{name} is {column!r}, which {self.input.address} has not: it has "
                    f"{', '.join(columns)}"
                )
        rows = relation(self.path, self.input.kind, columns, self.input.delimiter)
        rows = rows if self.first_rows is None else f"(select * from {rows} limit {self.first_rows})"
        several = [name for name, of_file in mapped.items() if not isinstance(of_file, str)]
        joined = [f"{_joined(mapped[name])} as {self.text(name)}" for name in several]
        return f"(select *, {', '.join(joined)} from {rows})" if joined else rows

    def text(self, name: str) -> str:
        """The SQL identifier of a mapped column in the relation."""
        column = self.input.mapped[name]
        return quoted(column if isinstance(column, str) else f"recur.{name}")

    def header(self, name: str) -> str:
        """What the file calls a mapped column."""
        return " and ".join(_all_of(self.input.mapped[name]))

    def times(self, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
        """SQL expressions that read the times. Raises Undecided where nothing shows what comes first in them."""
        readings = {name: reading(connection, self._time(name)) for name in TIMES if name in self.input.mapped}
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
        columns = {name: self.header(name) for name in self.source.numbers if name in self.input.mapped}
        stored = self.input.numbers or stored_numbers(self.path, self.input.kind)
        texts = {name: self.text(name) for name, column in columns.items() if column not in stored}
        evidence = survey(connection, self.relation, texts)
        if self.input.kind == "json_lines":
            doubtful = [name for name, values in evidence.items() if values.ambiguous and values.shown is None]
            stored |= numbers_of_json(connection, self.path, [columns[name] for name in doubtful])
        return {name: Evidence(stored=True) if columns[name] in stored else evidence[name] for name in columns}


def _all_of(column: Column) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column


def _joined(column: Column) -> str:
    """An SQL expression: the texts of several columns with blanks between, null where there is none."""
    texts = ", ".join(f"nullif(trim({quoted(name)}), '')" for name in _all_of(column))
    return f"nullif(concat_ws(' ', {texts}), '')"
