"""How the engine reads a CSV, JSON Lines or Parquet file: every column as text, unreadable lines kept."""

import csv
import gzip
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.errors import RecurError
from pipeline.sources.columns.located import distinct, pointer
from pipeline.sources.reading.plain_files import ENDS_IN_GZ, named

DELIMITERS = ",;\t|"
KEPT_CHARACTERS = 1000
OBJECT = "case when json_valid(line) then json_type(line) = 'OBJECT' else false end"
ROW = '"recur.row"'
NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U", "FLOAT", "DOUBLE", "DECIMAL")
HEADER_WITHIN = 50
LINES_WITH_KEYS = 10_000
"""How many lines of a JSON Lines file are read for the names of its columns."""


def columns_of(path: Path, kind: str, delimiter: str | None = None) -> list[str]:
    """The names of the file's columns, of a CSV also twice. Raises RecurError where it cannot be read as `kind`."""
    try:
        if (what := named(path, kind)) is not None:
            raise RecurError(f"{path} is {what}")
        if kind == "csv":
            names = _header(path, delimiter)[1]
        else:
            names = _json_keys(path) if kind == "json_lines" else list(_parquet_columns(path))
    except (OSError, UnicodeDecodeError, csv.Error, StopIteration, duckdb.Error) as error:
        reason = "it is empty" if isinstance(error, StopIteration) else str(error).splitlines()[0]
        if isinstance(error, UnicodeDecodeError):
            raise RecurError(
                f"{path} cannot be read as {kind}: its header is not UTF-8 ({reason}): set source.encoding, as "
                '"windows-1252" for what Windows writes'
            ) from None
        raise RecurError(
            f"{path} cannot be read as {kind}: {reason}: fix it, or set source.kind and source.path"
        ) from None
    return names


def relation(path: Path, kind: str, columns: list[str], delimiter: str | None = None) -> str:
    """The file as an SQL relation whose columns, by their `distinct` names, are all text, without the lines that have
    too many or too few columns (CSV), are no object (JSON Lines) or not UTF-8: `unreadable_lines` has those.
    """
    named = [(column, quoted(name)) for column, name in zip(columns, distinct(columns), strict=True)]
    if kind == "json_lines":
        values = ", ".join(f"json_extract_string(line, {literal(pointer(key))}) as {name}" for key, name in named)
        return f"(select {values} from (select line from {_raw_lines(path)} where {OBJECT}))"
    if kind == "parquet":
        types = _parquet_columns(path)
        texts = ", ".join(f"{_as_text(column, types[column])} as {name}" for column, name in named)
        return f"(select file_row_number + 1 as {ROW}, {texts} from read_parquet({literal(path)}))"
    as_text = ", ".join(f"{name}: 'VARCHAR'" for _, name in named)
    between = literal(_header(path, delimiter)[0])
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = true, delim = {between}, "
        f"quote = '\"', escape = '\"', columns = {{{as_text}}}, ignore_errors = true, store_rejects = true)"
    )


def row_number(kind: str) -> str:
    """An SQL expression of a row's number in a `relation`, from 1 on. Parquet stores it, so that many threads can read
    a file; lines have to be counted.
    """
    return ROW if kind == "parquet" else "row_number() over ()"


def unreadable_lines(
    connection: duckdb.DuckDBPyConnection, path: Path, kind: str, header_row: int = 1
) -> list[tuple[int, str]]:
    """Each line that the last reading of the file left out: the number of the row before it, and its beginning. Where
    quoted values hold line ends the number is too high, near rather than exact. Raises RecurError where a quotation
    mark takes in the lines after its own. `header_row` is the line of the source's file that is the first here.
    """
    if kind == "parquet":
        return []
    last_scan = "scan_id = (select max(scan_id) from reject_scans)"
    torn = f"error_type = 'UNQUOTED VALUE' and regexp_matches(csv_line, '[\\r\\n]') and {last_scan}"
    [(line,)] = connection.execute(f"select min(line) from reject_errors where {torn}").fetchall()
    if line is not None:
        raise RecurError(
            f"{path}: the quotation mark in line {line + header_row - 1} does not close where it should, and takes in "
            "lines after its own: fix that line"
        )
    lines = []
    if kind == "json_lines":
        lines = connection.execute(
            f"""
            select n - row_number() over (order by n), left(line, {KEPT_CHARACTERS})
            from (select row_number() over () as n, line from {_raw_lines(path)} where line is not null)
            where not {OBJECT} order by n
            """
        ).fetchall()
    headings = 1 if kind == "csv" else 0
    lines += connection.execute(
        f"""
        select line - {headings} - row_number() over (order by line), any_value(left(csv_line, {KEPT_CHARACTERS}))
        from reject_errors where {last_scan} group by line order by line
        """
    ).fetchall()
    return [(int(row), text or "") for row, text in lines]


def _header(path: Path, delimiter: str | None = None) -> tuple[str, list[str]]:
    """The delimiter of a CSV, where it is not given, and the names in its first line."""
    opener: Any = gzip.open if path.suffix == ENDS_IN_GZ else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = next(file)
    first.encode("utf-8", "surrogateescape").decode()  # raises where the header itself is no UTF-8
    delimiter = delimiter or max(DELIMITERS, key=first.count)
    return delimiter, split_line(first, delimiter)


def split_line(line: str, delimiter: str | None = None) -> list[str]:
    """The texts in a line of a CSV."""
    return next(csv.reader([line], delimiter=delimiter or max(DELIMITERS, key=line.count)), [])


def first_lines(path: Path) -> list[str]:
    """The first lines of a CSV, among which its header may stand."""
    opener: Any = gzip.open if path.suffix == ENDS_IN_GZ else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        return list(islice(file, HEADER_WITHIN))


def _raw_lines(path: Path) -> str:
    """A text file as a relation of one column, `line`, null for empty lines. JSON always escapes the delimiter."""
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = false, delim = '\x1f', quote = '', escape = '', "
        "columns = {'line': 'VARCHAR'}, ignore_errors = true, store_rejects = true)"
    )


def _json_keys(path: Path) -> list[str]:
    """The keys of the objects, in alphabetical order. Raises StopIteration where the file holds no line."""
    with duckdb.connect() as connection:
        lines = f"(select line from {_raw_lines(path)} where line is not null limit {LINES_WITH_KEYS})"
        [(count, objects)] = connection.execute(f"select count(*), count_if({OBJECT}) from {lines}").fetchall()
        if not count:
            raise StopIteration
        if not objects:
            raise csv.Error("none of its lines is a JSON object")
        keys = f"select distinct unnest(json_keys(line)) from {lines} where {OBJECT} order by 1"
        return [key for (key,) in connection.execute(keys).fetchall()]


def _parquet_columns(path: Path) -> dict[str, str]:
    """The names of the columns, and their types."""
    with duckdb.connect() as connection:
        described = connection.execute(f"describe from read_parquet({literal(path)})").fetchall()
    return {name: kind for name, kind, *_ in described}


def stored_numbers(path: Path, kind: str) -> frozenset[str]:
    """The columns that a Parquet file stores as numbers."""
    if kind != "parquet":
        return frozenset()
    return frozenset(name for name, stored in _parquet_columns(path).items() if stored.startswith(NUMERIC))


def numbers_of_json(connection: duckdb.DuckDBPyConnection, path: Path, keys: Sequence[str]) -> frozenset[str]:
    """Those of `keys` whose values in a JSON Lines file are numbers, and never texts."""
    if not keys:
        return frozenset()
    texts = ", ".join(f"count_if(json_type(line, {literal(pointer(key))}) = 'VARCHAR')" for key in keys)
    [counts] = connection.execute(
        f"select {texts} from (select line from {_raw_lines(path)} where {OBJECT})"
    ).fetchall()
    return frozenset(key for key, count in zip(keys, counts, strict=True) if not count)


def _as_text(column: str, kind: str) -> str:
    """A column of a Parquet file as text. Whole numbers that are stored as floats, as pandas stores an integer column
    with nulls, lose their `.0`: customer 13085 is not called 13085.0. A structure or a list is a text of JSON.
    """
    name = quoted(column)
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("]"):
        return f"to_json({name})::varchar"
    if kind not in ("DOUBLE", "FLOAT"):
        return f"{name}::varchar"
    return (
        f"case when abs({name}) < 1e15 and {name} = trunc({name}) then {name}::bigint::varchar else {name}::varchar end"
    )
