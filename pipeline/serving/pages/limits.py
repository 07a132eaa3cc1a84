"""How much memory a reader's SQL may take on the pages: of a value, of a row, of an answer, and of SQLite in all."""

import sqlite3
from typing import Any

LONGEST_VALUE, MOST_COLUMNS = 1 << 20, 200
ANSWER_BYTES, BYTES_A_VALUE = 8 << 20, 32
HEAP_BYTES = 256 << 20


class CountedRows:
    """Makes sqlite3's rows, until those of one cursor take more than `ANSWER_BYTES`."""

    def __init__(self) -> None:
        self._cursor: sqlite3.Cursor | None = None
        self._bytes = 0

    def __call__(self, cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> sqlite3.Row:
        if cursor is not self._cursor:
            self._cursor, self._bytes = cursor, 0
        self._bytes += sum(BYTES_A_VALUE + (len(value) if isinstance(value, (str, bytes)) else 0) for value in row)
        if self._bytes > ANSWER_BYTES:
            raise sqlite3.OperationalError(f"the rows take more than {ANSWER_BYTES >> 20} MiB: ask for fewer")
        return sqlite3.Row(cursor, row)


def limit(connection: sqlite3.Connection) -> None:
    """Sets the limits on a connection that Datasette has opened."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, MOST_COLUMNS)
    connection.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
    connection.row_factory = CountedRows()
