"""The table `[source]` of `recur.toml`: where events come from, and how the source's columns map to an event's."""

import codecs
from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

CORE_COLUMNS = (
    "event_id",
    "customer_id",
    "event_time",
    "known_time",
    "event_type",
    "amount",
    "quantity",
    "unit_price",
    "deleted",
)
"""The staged columns that are an event's own; all text. Those that a source does not map are absent, not null. Times
are ISO text in UTC where the source could read them, and unchanged where it could not.
"""
TIMES = ("event_time", "known_time")
BUNDLED = ("complete_journey", "cdnow")
LINES = "lines"
RESERVED_COLUMNS = (*CORE_COLUMNS, "superseded_time", "cutoff", "night", "reason")


Column = str | tuple[str, ...]
"""A column of the source; of a time, also several, whose texts together, with blanks between, are the time."""


class Section(BaseModel):
    """A table of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SourceFile(Section):
    """One of several files of a source."""

    path: str
    """The file, relative to the configuration's folder; a pattern such as `orders-*.csv` stands for all that fit."""
    since: date | None = None
    """Rows whose event time lies before this day (in the source's time zone) are not taken from this file."""
    before: date | None = None
    """Rows whose event time lies on or after this day are not taken from this file."""
    columns: dict[str, Column] = {}
    """Where this file's columns differ from `[source.columns]`."""


class EventType(Section):
    """The type of events in which a column begins with a text."""

    name: str
    """The type."""
    column: str
    """A mapped column, by its name in `[source.columns]`."""
    starts_with: str
    """What the column begins with."""


class Source(Section):
    """Where events come from, and how the source's columns map to an event's. Columns beyond an event's own are
    attributes; those named in `categorical` are read as text, the others as numbers. `kind` says how `path` is read.
    """

    kind: Literal["complete_journey", "cdnow", "csv", "parquet", "json_lines", "sql"] = "complete_journey"
    """How `path` is read; `complete_journey` is the bundled data and needs no path, nor does `cdnow`, which needs the
    package lifetimes (`pip install --no-deps lifetimes==0.11.3`).
    """
    path: str | None = None
    """The file, relative to the configuration's folder; a pattern such as `orders-*.csv` or `orders/**/*.csv` stands
    for all that fit. Rows without event ids, or lines, that are equal in the mapped columns are one where two files of
    a pattern have them, and two where one file has both.
    """
    files: tuple[SourceFile, ...] = ()
    """Instead of `path`, several files: each `[[source.files]]` has a `path`; `since` and `before`, days between which
    its rows are taken; and `columns`, where its columns differ from `[source.columns]`.
    """
    table: str | None = None
    """With `sql`: the table or view, `schema.table` where it needs one, in the database at `addresses.source`."""
    incremental_by: str | None = None
    """With `sql`: a column that only grows as rows come (a time of arrival or change, a number). Each sync goes on from
    the largest value so far; without it every sync reads the whole table.
    """
    overlap: Annotated[float, Field(ge=0)] = 1.0
    """With `sql`: how far before that value a sync begins, since rows may commit late: days for a time, else units."""
    rows_are: Literal["events", "lines"] = "events"
    """`lines`: rows that share `event_id` are the lines of one event (a basket, an invoice). Their amounts, quantities
    and numeric attributes are summed, text is that of the first line that has it, the event's time is its first line's,
    it is known with its last, and how many lines there are becomes the attribute `lines`. Lines that name no customer,
    time or type have those of the first line of their event in the same file that does.
    """
    event_types: tuple[EventType, ...] = ()
    """Types that no column of their own holds: each `[[source.event_types]]` has a `name`, a mapped `column` and what
    it `starts_with`; the first that fits counts.
    """
    default_event_type: str = "event"
    """The type of an event that neither a column nor `event_types` gives one."""
    timezone: str = "UTC"
    """The time zone of times that name none."""
    time_format: str | None = None
    """How times are written, in the letters of strptime, as `%d/%m/%Y %H:%M`. By default the columns show it; this key
    decides where day or month may come first.
    """
    delimiter: str | None = None
    """What stands between the columns of a CSV; by default whichever of `,`, `;`, `|` and the tab its header has most.
    """
    encoding: str = "utf-8"
    """How a text file writes its letters, as `utf-16` or `windows-1252`."""
    header_row: Annotated[int, Field(ge=1)] = 1
    """The line of a CSV that names its columns; those before it (a title, a date) are skipped."""
    decimal: Literal[".", ","] | None = None
    """What stands before the decimals of a number. By default each number column shows it, by values that can be read
    in one way only, as 12,50; where none does, and 1.250 may be 1250 or 1.25, this key decides.
    """
    thousands: Literal[".", ",", " ", "'"] | None = None
    """What stands between the thousands of a number: where it is a point or a comma, the other one is `decimal`."""
    fold_case: bool = False
    """Whether customers whose ids differ in case only are one, as the addresses of a shop's customers; their ids are in
    lower case then.
    """
    strip_zeros: bool = False
    """Whether ids that are whole numbers lose zeros before and `.0` behind, which spreadsheets write: 0042 and 42.0
    are 42.
    """
    nobody: tuple[str, ...] = ()
    """Ids that mean nobody, in any case, as `["0", "guest"]`: rows of theirs are set aside and do not count against a
    night.
    """
    columns: dict[str, Column] = {}
    """Which of the source's columns holds what, by its name or a dotted path into JSON (`user.id`): `customer_id` and
    `event_time` always (`["Date", "Time"]` where a time is in several); `event_type`, `amount`, `quantity`, `event_id`,
    `known_time` (when the row arrived), `unit_price` (of which `quantity` times is then the amount), `deleted` (whether
    the row deletes its event: yes or no, or the time when it was) where there are such; further names become
    attributes.
    """
    categorical: tuple[str, ...] = ()
    """The attributes that are text; the others are numbers."""

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone: use a name such as UTC or Europe/London") from None
        return name

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError:
            raise ValueError(f"{name!r} is no encoding: use a name such as utf-8, utf-16 or windows-1252") from None

    @field_validator("time_format")
    @classmethod
    def _format_has_a_day(cls, text: str | None) -> str | None:
        if text is not None and "%" not in text:
            raise ValueError(f"{text!r} has no % in it: write %d/%m/%Y for 31/12/2024")
        return text

    @field_validator("delimiter")
    @classmethod
    def _delimiter_is_one_character(cls, text: str | None) -> str | None:
        if text is not None and (len(text) != 1 or text in '"\r\n'):
            raise ValueError(f"{text!r} is not one character: write ; or , or a tab as \\t")
        return text

    @model_validator(mode="after")
    def _columns_make_events(self) -> "Source":
        if self.kind in BUNDLED:
            return self
        if self.kind != "csv" and (self.delimiter is not None or self.header_row > 1):
            raise ValueError('delimiter and header_row go with kind = "csv" only')
        if self.kind not in ("csv", "json_lines") and self.encoding != "utf-8":
            raise ValueError('encoding goes with kind = "csv" or "json_lines" only')
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: leave one of the two out")
        if self.kind == "sql":
            if not self.table or self.path or self.files:
                raise ValueError('kind = "sql" needs table, and neither path nor [[source.files]]')
        elif bool(self.path) == bool(self.files):
            raise ValueError(f'kind = "{self.kind}" needs path, the file to read, or [[source.files]], and not both')
        for mapped in self.mappings:
            if set(mapped) != set(self.mappings[0]):
                odd = min(set(mapped) ^ set(self.mappings[0]))
                raise ValueError(f"columns.{odd} is mapped for some of [[source.files]]: map it for all of them")
            for column in ("customer_id", "event_time"):
                if column not in mapped:
                    raise ValueError(f"columns.{column} is missing: name the source's column that holds it")
            for column, of_source in mapped.items():
                self._require_usable(column)
                if not isinstance(of_source, str) and (column not in TIMES or self.kind == "sql" or not of_source):
                    raise ValueError(
                        f"columns.{column} names several columns, as only a time in files can: name one, or join them "
                        "in a view"
                    )
        for column in self.categorical:
            if column not in self.names or column in CORE_COLUMNS:
                raise ValueError(f"categorical names {column!r}, which is no attribute in [source.columns]")
        if self.rows_are == "lines" and "event_id" not in self.names:
            raise ValueError('rows_are = "lines" needs columns.event_id, which says what lines belong together')
        if self.rows_are == "lines" and "known_time" in self.names:
            raise ValueError(
                'rows_are = "lines" goes with no columns.known_time: lines that arrive apart could be additions or '
                "corrections; leave known_time out, or let the source group them"
            )
        if "deleted" in self.names and "event_id" not in self.names:
            raise ValueError("columns.deleted needs columns.event_id, which says what event a row deletes")
        if "unit_price" in self.names and ("quantity" not in self.names or "amount" in self.names):
            raise ValueError("columns.unit_price needs columns.quantity, and goes with no columns.amount")
        if self.event_types and "event_type" in self.names:
            raise ValueError("event_types goes with no columns.event_type: leave one of the two out")
        for event_type in self.event_types:
            if event_type.column not in self.names:
                raise ValueError(f"event_types: {event_type.column!r} is no column of [source.columns]")
        return self

    @property
    def mappings(self) -> list[dict[str, Column]]:
        """The columns of each file."""
        return [self.columns | file.columns for file in self.files] or [self.columns]

    @property
    def names(self) -> tuple[str, ...]:
        """The mapped columns, by recur's names, in the order of the configuration."""
        return tuple(self.mappings[0])

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those of `names` that are numbers."""
        own = ("amount", "quantity", "unit_price")
        attributes = (name not in CORE_COLUMNS and name not in self.categorical for name in self.names)
        return tuple(name for name, is_one in zip(self.names, attributes, strict=True) if is_one or name in own)

    @property
    def decimal_sign(self) -> str | None:
        """What `decimal` and `thousands` say of it."""
        return self.decimal or {".": ",", ",": "."}.get(self.thousands or "")

    def _require_usable(self, column: str) -> None:
        reserved = (set(RESERVED_COLUMNS) - set(CORE_COLUMNS)) | ({LINES} if self.rows_are == "lines" else set())
        if column in reserved:
            raise ValueError(f"columns.{column} is a name that recur uses itself: call the attribute something else")
        if not column.isidentifier() or not column.islower():
            raise ValueError(f"columns.{column}: an attribute's name is lower-case letters, digits and _")
