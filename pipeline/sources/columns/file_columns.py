"""The mapped columns of one file of a source: how each is read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

import duckdb

from pipeline.config.source import TIMES, Source
from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError
from pipeline.sources.columns.file_relation import FileRelation
from pipeline.sources.columns.numbers import Evidence, canonical, survey
from pipeline.sources.columns.readings import NumberColumn, Readings
from pipeline.sources.columns.times import TimeColumn, Undecided, reading


@dataclass(frozen=True)
class LocalFile:
    """A file of `source`, and how it is read: how the columns were so far, the columns that are kept, by recur's names,
    and the number of the last row read before it.
    """

    relation: FileRelation
    source: Source
    readings: Readings
    names: Sequence[str]
    last_row: int

    @property
    def of_lines(self) -> bool:
        return self.source.rows_are == "lines"

    def without(self, lacking: frozenset[str]) -> Self:
        """The same where these mapped columns are null."""
        return replace(self, relation=replace(self.relation, lacking=lacking))

    def times(self, connection: duckdb.DuckDBPyConnection, whole: bool = False) -> dict[str, str]:
        """SQL expressions that read the times; `whole`: all rows are looked at first. Raises Undecided where nothing
        shows what comes first in them.
        """
        file = self.relation
        readings = {name: reading(connection, self._time(name), whole) for name in TIMES if name in file.input.mapped}
        for name, time in readings.items():
            self.readings.add_time(file.input.entry, name, file.header(name), time)
        return {name: time.moment for name, time in readings.items()}

    def numbers(self, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
        """SQL expressions of the texts of the numbers: as they stand there, where the engine reads all of them, else
        rewritten, where that can be. Raises Undecided where a value can be read in two ways, and nothing says which.
        """
        evidence, file = self._evidence(connection), self.relation
        seen = {name: NumberColumn(file.header(name), values) for name, values in evidence.items()}
        signs = self.readings.decided(file.input, seen, self.source.decimal_sign)
        self.readings.add(file.input.entry, seen, signs)
        texts = {name: file.text(name) for name in evidence}
        rewritten = {name: f"coalesce({canonical(text, signs[name])}, {text})" for name, text in texts.items()}
        plain = {name for name, values in evidence.items() if values.is_plain(signs[name])}
        return {name: text if name in plain else rewritten[name] for name, text in texts.items()}

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Lets the values of this file say how its columns are written, before it is read."""
        for name, values in self._evidence(connection).items():
            column = NumberColumn(self.relation.header(name), values)
            self.readings.look(self.relation.input.entry, name, column)
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

    def _time(self, name: str) -> TimeColumn:
        file = self.relation
        where, key = f"{file.input.address}: column {file.header(name)}", self.source.time_format
        order = self.readings.time(file.input.entry, name, file.header(name)).order
        return TimeColumn(file.sql, file.text(name), where, key, order)

    def _evidence(self, connection: duckdb.DuckDBPyConnection) -> dict[str, Evidence]:
        """What the values of the columns of numbers show; those of numbers that are stored as such show nothing."""
        file = self.relation
        names = [name for name in self.source.numbers if name in file.input.mapped and name not in file.lacking]
        texts = {name: file.text(name) for name in names if name not in file.stored_as_numbers}
        evidence = survey(connection, file.sql, texts)
        doubtful = [name for name, values in evidence.items() if values.ambiguous and values.shown is None]
        stored = file.stored_as_numbers | file.numbers_in_json(connection, doubtful)
        return {name: Evidence(stored=True) if name in stored else evidence[name] for name in names}
