"""How each column of a source is written, as it was found: for the whole column, once, and held to by later nights.

The readings lie in one file of the state folder, beside the index and the event store, so that they outlive both: a
file of tonight is read as those before it were, and one that contradicts them is refused.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel, Field, ValidationError

from pipeline.config.source import Source
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed
from pipeline.sources.columns.numbers import COMMA, OTHER, POINT, Evidence
from pipeline.sources.columns.times import TimeReading, Undecided
from pipeline.sources.inputs import Input

READINGS, FORMAT = "readings.json", 1
WAY_BACK = "put it back from a backup, or remove it: how columns are written is found anew then"
EXAMPLE = Field(default=None, exclude=True)
"""Of a value: it is some customer's, who may be forgotten, so that it is never written."""


class NumberColumn(NamedTuple):
    """What a file calls a column of numbers, and what its values there show."""

    header: str
    values: Evidence


class NumberReading(BaseModel):
    """How a column of numbers is written: its decimal sign (None while no value has shown it), what stands between
    thousands, the currencies, whether they are stored as numbers and not written at all, and an example of a value, of
    what is no number, and of what says that there is none.
    """

    column: str
    decimal: str | None = None
    thousands: list[str] = []
    money: list[str] = []
    stored: bool = False
    example: str | None = EXAMPLE
    unreadable: str | None = EXAMPLE
    nothing: str | None = EXAMPLE

    def with_values(self, values: Evidence, decimal: str | None) -> "NumberReading":
        """The reading once those values of a file are read with `decimal`."""
        groups = set(values.thousands) | {mark for mark in values.ambiguous if decimal == OTHER[mark]}
        return NumberReading(
            column=self.column,
            decimal=decimal,
            thousands=sorted({*self.thousands, *groups}),
            money=sorted({*self.money, *values.money}),
            stored=values.stored,
            example=values.example or self.example,
            unreadable=values.examples.get("unreadable", self.unreadable),
            nothing=values.examples.get("nothing", self.nothing),
        )


class StoredTime(BaseModel):
    """How a column of times is written: the ways that were seen, the order of day, month and year where others fit the
    same texts, and an example, as it is written and, in UTC, as it is read.
    """

    column: str
    written: list[str] = []
    order: str | None = None
    example: str | None = EXAMPLE
    read: str | None = EXAMPLE


class Readings(BaseModel):
    """The readings of one source, by the number of its `[[source.files]]` and the column's name in recur."""

    source: str = ""
    numbers: dict[str, NumberReading] = {}
    times: dict[str, StoredTime] = {}

    @classmethod
    def of(cls, state: StateFolder, source: Source) -> "Readings":
        """Those of `source`, as they were last written; none where the file is that of another source. Raises
        DamagedError where it is not what was written.
        """
        origin = [source.kind, source.path, *(file.path for file in source.files), source.table]
        name, stored = " ".join(filter(None, origin)), cls()
        try:
            stored = cls.model_validate(read_sealed(state.path / READINGS, FORMAT))
        except FileNotFoundError:
            pass
        except (DamagedError, ValidationError):
            raise DamagedError(f"{state.path / READINGS} is damaged: {WAY_BACK}") from None
        return stored if stored.source == name else cls(source=name)

    def write(self, state: StateFolder) -> None:
        write_sealed(state.path / READINGS, self.model_dump(mode="json"), FORMAT, indent=1)

    def number(self, entry: int, name: str, column: str) -> NumberReading:
        """The reading of a column of numbers so far."""
        stored = self.numbers.get(f"{entry} {name}")
        return stored if stored is not None and stored.column == column else NumberReading(column=column)

    def time(self, entry: int, name: str, column: str) -> StoredTime:
        """The reading of a column of times so far."""
        stored = self.times.get(f"{entry} {name}")
        return stored if stored is not None and stored.column == column else StoredTime(column=column)

    def add_time(self, entry: int, name: str, column: str, reading: TimeReading) -> None:
        """Adds how a file writes the column."""
        before = self.time(entry, name, column)
        self.times[f"{entry} {name}"] = StoredTime(
            column=column,
            written=sorted(reading.ways.union(before.written)),
            order=reading.order or before.order,
            example=reading.example or before.example,
            read=reading.read if reading.example else before.read,
        )

    def decided(self, file: Input, columns: Mapping[str, NumberColumn], key: str | None) -> dict[str, str | None]:
        """The decimal sign of each column of numbers of `file`, by its name in recur: what the configuration's `key`
        says, what the column has shown so far, or what another column of numbers has. Raises Undecided where nothing
        says it, and it matters; ConfigurationError where the file contradicts itself or those before.
        """
        before = {name: self.number(file.entry, name, column.header).decimal for name, column in columns.items()}
        own = {name: before[name] or column.values.shown for name, column in columns.items()}
        of_others = {sign for sign in own.values() if sign is not None}
        signs: dict[str, str | None] = {}
        for name, (header, values) in columns.items():
            signs[name] = key or own[name]
            if key is not None or not values.ambiguous:
                continue
            where = f"{file.address}: column {header}"
            if values.contradicts(before[name]):
                raise ConfigurationError(_contradiction(where, values, before[name]))
            if own[name] is None and len(of_others) != 1:
                raise Undecided(_ambiguity(where, values))
            signs[name] = own[name] or min(of_others)
        return signs

    def look(self, entry: int, name: str, column: NumberColumn) -> None:
        """Takes the decimal sign that a column shows, where it is not known yet."""
        reading = self.number(entry, name, column.header)
        if reading.decimal is None and (shown := column.values.shown) is not None:
            self.numbers[f"{entry} {name}"] = reading.model_copy(update={"decimal": shown})

    def add(self, entry: int, columns: Mapping[str, NumberColumn], signs: Mapping[str, str | None]) -> None:
        """Adds the values of a file that are read with these decimal signs."""
        for name, (header, values) in columns.items():
            reading = self.number(entry, name, header)
            self.numbers[f"{entry} {name}"] = reading.with_values(values, signs[name])


def _ambiguity(where: str, values: Evidence) -> str:
    mark, text = values.doubtful
    return (
        f"{where}: {text!r} may be {text.replace(mark, '')} or {text.replace(mark, '.')}, and no value shows which "
        f"({values.ambiguous[mark]:,} of {values.values:,} are written so): set source.decimal = "
        f'"{OTHER[mark]}" for the first, "{mark}" for the second'
    )


def _contradiction(where: str, values: Evidence, before: str | None) -> str:
    _, text = values.doubtful
    point, comma = (values.examples.get(f"decimal {mark}") for mark in (POINT, COMMA))
    if point is not None and comma is not None:
        shown = f"{point!r} has a decimal point and {comma!r} a decimal comma"
    else:
        shown = f"{point or comma!r} has another decimal sign than the files before, {before!r}"
    return f"{where}: {shown}, so that {text!r} may be two numbers: set source.decimal to what {text!r} is read by"
