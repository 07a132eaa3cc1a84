"""SQL expressions that reading a source and validating its nights share."""

from collections.abc import Iterable
from datetime import UTC, datetime

FIRST_TIME = datetime(1970, 2, 1, tzinfo=UTC)  # January 1970: an empty clock, or seconds taken for milliseconds
LAST_TIME = datetime(2200, 1, 1, tzinfo=UTC)
SEPARATOR, NULL = "chr(31)", "chr(30)"  # ASCII's own separators: between the values of a row, and for null


def sql_moment(moment: datetime) -> str:
    """`moment` as a timestamp without a zone, in UTC, as the index has them."""
    return f"timestamp '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def sql_instant(moment: datetime) -> str:
    """`moment` as a timestamp with a zone, as the event store has them."""
    return f"timestamptz '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"


def plausible(column: str) -> str:
    """A predicate: whether a time can be a real one at all."""
    return f"({column} >= {sql_moment(FIRST_TIME)} and {column} < {sql_moment(LAST_TIME)})"


def row_digest(columns: Iterable[str]) -> str:
    """The digest of text columns, which rows with the same values share."""
    return f"md5(concat_ws({SEPARATOR}, {', '.join(f'coalesce({column}, {NULL})' for column in columns)}))"
