"""What a source of events is. Nothing past validation knows more of it than this."""

from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pipeline.runtime.nights import Night
from pipeline.sources.columns.described import SourceValues

Kind = Literal["numeric", "categorical"]


class Span(NamedTuple):
    """The time that a source covers, in UTC: from its first event to the end of its last closed day. A day is closed
    once the source holds an event after it.
    """

    first_event: datetime
    closed: datetime


class EventSource(Protocol):
    """Where events come from. `span` and `extract` raise where the source is missing, unreadable or has not the columns
    that the configuration names.
    """

    def span(self) -> Span:
        """The time that the source covers. Raises RecurError where there are no rows."""

    def attributes(self) -> dict[str, Kind]:
        """The attributes of an event beyond its own columns, in the order in which the event store keeps them. Where
        rows are the lines of events, the last is `lines`, which validation counts and no row holds.
        """

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        """Writes the rows of `night` as Parquet to `path` and returns how many there are.

        Columns, all text save the first: `row` (their order in the source), `unreadable` (the line itself, where it
        could not be taken apart, else null), those of `CORE_COLUMNS` that the source maps, and the attributes. A source
        without event ids adds `earlier`: how many equal rows were in earlier nights.

        A row belongs to the night in whose `[start, end)` its event time lies or, where the source maps a known time,
        in whose `(start, end]` that lies, as known by `end` means known time <= end. One that came for a night already
        taken belongs to the first night after it came. All lines of an event belong to the night of the last one.

        `again`: the night was loaded before and is wanted as it was then. Raises RecurError where the source can no
        longer say what it knew.
        """

    def restated(self, night: Night) -> int:
        """Of the rows that `night` took when it was extracted: how many came, without event ids, for a customer and a
        time of which an earlier night has a row that says something else. By default none: its
        rows have ids or never change.
        """
        return 0

    def values(self) -> SourceValues | None:
        """All rows and how their columns were read; by default None: they were made for recur."""
        return None
