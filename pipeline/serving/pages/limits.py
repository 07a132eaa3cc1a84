"""How much memory a reader's SQL may take on the pages: of a value, of a row, of an answer, and of SQLite in all; and
for how long.
"""

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

LONGEST_VALUE, MOST_COLUMNS = 1 << 20, 200
ANSWER_BYTES, BYTES_A_VALUE = 8 << 20, 32
HEAP_BYTES = 256 << 20
STUCK_SECONDS = 60.0


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


class WatchedThreads(ThreadPoolExecutor):
    """Threads for SQL, of which none may work on one thing for longer than `STUCK_SECONDS`: SQLite cannot be stopped
    within a call of one of its functions, such as `printf('%.*c', 2000000000, 'a')`, and a few of those would hold up
    every reader. The process ends then, and whoever keeps it starts it again.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix="sql")
        self._began: dict[int, float] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._timed, work, *args, **kwargs)

    def _timed(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._began[threading.get_ident()] = time.monotonic()
        try:
            return work(*args, **kwargs)
        finally:
            del self._began[threading.get_ident()]

    def _watch(self) -> None:
        while True:
            time.sleep(STUCK_SECONDS / 10)
            if any(time.monotonic() - began > STUCK_SECONDS for began in list(self._began.values())):
                print(f"the pages end: SQL has run for {STUCK_SECONDS:g} seconds past all limits", file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)
