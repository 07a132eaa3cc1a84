"""How the engine reads a CSV or Parquet file: every column as text, and lines that cannot be taken apart kept."""

import csv
import gzip
from pathlib import Path
from typing import Any

import duckdb

from pipeline.engine import literal, quoted
from pipeline.errors import ConfigurationError, RecurError

DELIMITERS = ",;\t|"
KEPT_CHARACTERS = 1000


def columns_of(path: Path, kind: str) -> list[str]:
    """The names of the file's columns. Raises RecurError where it cannot be read as `kind`."""
    try:
        names = _header(path)[1] if kind == "csv" else list(_parquet_columns(path))
    except (OSError, UnicodeDecodeError, csv.Error, StopIteration, duckdb.Error) as error:
        reason = "it is empty" if isinstance(error, StopIteration) else str(error).splitlines()[0]
        raise RecurError(
            f"{path} cannot be read as {kind}: {reason}: mend it, or set source.kind and source.path"
        ) from None
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"{path} has the column {twice!r} twice: rename one of them")
    return names


def relation(path: Path, kind: str, columns: list[str]) -> str:
    """The file as an SQL relation whose columns are all text. Lines of a CSV that have too many or too few columns, or
    are not UTF-8, are left out here and given by `unreadable_lines`.
    """
    if kind == "parquet":
        kept_as = _parquet_columns(path)
        texts = ", ".join(f"{_as_text(column, kept_as[column])} as {quoted(column)}" for column in columns)
        return f"(select {texts} from read_parquet({literal(path)}))"
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = true, delim = {literal(_header(path)[0])}, "
        f"quote = '\"', escape = '\"', columns = {{{types}}}, ignore_errors = true, store_rejects = true)"
    )


def unreadable_lines(connection: duckdb.DuckDBPyConnection, kind: str) -> list[tuple[int, str]]:
    """(the number of the row before it, the line's beginning) of each line that the last reading of a CSV left out.
    Where quoted values hold line ends the number comes out too high, and is near rather than exact.
    """
    if kind == "parquet":
        return []
    lines = connection.execute(
        f"""
        select line - 1 - row_number() over (order by line), any_value(left(csv_line, {KEPT_CHARACTERS}))
        from reject_errors where scan_id = (select max(scan_id) from reject_scans) group by line order by line
        """
    ).fetchall()
    return [(int(place), text or "") for place, text in lines]


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter of a CSV and the names in its first line."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        first = next(file)
    delimiter = max(DELIMITERS, key=first.count)
    return delimiter, next(csv.reader([first], delimiter=delimiter))


def _parquet_columns(path: Path) -> dict[str, str]:
    """The names of the columns, and their types."""
    with duckdb.connect() as connection:
        described = connection.execute(f"describe from read_parquet({literal(path)})").fetchall()
    return {name: kind for name, kind, *_ in described}


def _as_text(column: str, kind: str) -> str:
    """A column of a Parquet file as text. Whole numbers that are kept as floats, as pandas keeps an integer column that
    has gaps, lose their `.0`: customer 13085 is not called 13085.0.
    """
    name = quoted(column)
    if kind not in ("DOUBLE", "FLOAT"):
        return f"{name}::varchar"
    return (
        f"case when abs({name}) < 1e15 and {name} = trunc({name}) then {name}::bigint::varchar else {name}::varchar end"
    )
