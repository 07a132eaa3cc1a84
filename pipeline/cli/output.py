"""What the command line writes for other programs: CSV, JSON and Parquet."""

import csv
import json
import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.paths import atomically
from pipeline.serving.spreadsheets import harmless

Rows = Sequence[Sequence[Any]]


def write_csv(file: IO[str], columns: Sequence[str], rows: Rows) -> None:
    """A header and the rows; null is empty, dates are ISO, floats keep every digit. A text that a spreadsheet would run
    as a formula gets a ' before it, since customers' ids come from other people; JSON has every text as it is.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([harmless(_plain(value)) for value in row] for row in rows)


def write_json(file: IO[str], columns: Sequence[str], rows: Rows) -> None:
    """A list of objects, a line each. Raises ConfigurationError where two columns share a name."""
    twice = sorted({column for column in columns if list(columns).count(column) > 1})
    if twice:
        raise ConfigurationError(
            f"two columns are called {', '.join(twice)}: give one another name, as in `... as other`"
        )
    lines = (json.dumps(dict(zip(columns, map(_plain, row), strict=True)), ensure_ascii=False) for row in rows)
    file.write("[" + ",\n ".join(lines) + "]\n")


def copy_to(source: Path, target: Path) -> None:
    """A copy of `source` in the place of `target`, whole or not at all. Raises RecurError where that cannot be."""
    try:
        with atomically(target.resolve()) as file:
            file.write_bytes(source.read_bytes())
    except OSError as error:
        raise RecurError(f"{target} cannot be written: {error.strerror}: name another file") from None


def _plain(value: Any) -> Any:
    """As JSON has it: numbers that it lacks are null, and what else it lacks is text."""
    if isinstance(value, (str, int, type(None))):
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value)  # a date in ISO's form
