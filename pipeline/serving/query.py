"""Read-only SQL over the views, where it is the database that refuses everything else, within limits."""

import re
import sqlite3
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.runtime.errors import ConfigurationError, RecurError, way_out
from pipeline.serving.beside import require_kept, require_latest
from pipeline.serving.database import BUSY_SECONDS, PredictionsStore
from pipeline.serving.reader_role import server_rights
from pipeline.serving.views import READER, VIEWS

Rows = list[tuple[Any, ...]]
ROWS_AT_ONCE = 1000
STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's engine, some tenths of a millisecond
LONGEST_TEXT = 16 << 20
HEAP_BYTES, BYTES_A_ROW = 1 << 30, 56
HARMLESS = {
    *("random", "random_normal", "setseed", "array_sample", "array_shuffle", "gen_random_uuid", "uuidv4", "uuidv7"),
    *("clock_timestamp", "timeofday", "pg_sleep", "pg_sleep_for", "pg_sleep_until"),
}
"""Functions of PostgreSQL that are volatile and have no effect."""
_DATABASE_OWN = {"sqlite_master", "sqlite_schema"}
_FIXED_PRAGMAS = {"table_info", "table_xinfo", "table_list"}


@dataclass(frozen=True)
class Limits:
    """What one statement may take: time, rows, and about how much memory for them."""

    seconds: float = 60.0
    rows: int = 2_000_000
    bytes: int = 1 << 30


def query(store: PredictionsStore, sql: str, limits: Limits | None = None) -> tuple[list[str], Rows]:
    """The column names and rows of one SELECT over the views.

    SQLite is opened with `mode=ro` and `query_only`, and an authorizer lets a statement read the views and nothing
    else. PostgreSQL runs it as a cursor, which only a SELECT can be, in a read-only transaction under the role
    `recur_reader`, where it names no function that may do more than read. Raises ConfigurationError for SQL that
    cannot be run or takes more than `limits`, and RecurError where there is no database, or its role has rights over
    the server.
    """
    if not sql.strip().rstrip(";").strip():
        raise _refusal("it is empty")
    budget = _Budget(limits or Limits())
    if store.on_postgresql:
        return _on_postgresql(store, sql, budget)
    return _on_sqlite(Path(str(store.address.database)), sql, budget)


def open_read_only(path: Path) -> sqlite3.Connection:
    """The SQLite file at `path`, opened so that nothing can be written to it. Raises RecurError where it is absent,
    damaged or an older copy.
    """
    require_kept(path)
    if not path.exists():
        raise RecurError(f"there are no predictions yet at {path}: run `make run`, or `recur run`")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA query_only = ON")
        require_latest(path, lambda: int(connection.execute("PRAGMA user_version").fetchone()[0]))
    except sqlite3.Error as error:
        fix = way_out(str(error), "check its permissions and those of its folder")
        raise RecurError(f"{path} cannot be read: {error}: {fix}") from None
    return connection


@dataclass
class _Budget:
    """What is left of the limits of one statement, from now on."""

    limits: Limits
    rows: Rows = field(default_factory=list)
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def milliseconds_left(self) -> int:
        """At least one: to PostgreSQL, none is no limit."""
        return max(1, int(1000 * (self.began + self.limits.seconds - time.monotonic())))

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.began > self.limits.seconds

    def take(self, rows: Iterable[tuple[Any, ...]]) -> Rows:
        """All `rows`, one by one, since any of them may be as long as the database lets it. Raises ConfigurationError
        past a limit.
        """
        for row in rows:
            self.rows.append(row)
            self.bytes += BYTES_A_ROW + _size(row)
            if len(self.rows) > self.limits.rows:
                raise _refusal(f"it gives more than {self.limits.rows:,} rows: {_LESS}")
            if self.bytes > self.limits.bytes:
                raise _refusal(f"its rows take more than {self.limits.bytes >> 20:,} MiB: {_LESS}")
            if len(self.rows) % ROWS_AT_ONCE == 0 and self.is_late:
                raise self.lateness()
        return self.rows

    def lateness(self) -> ConfigurationError:
        return _refusal(f"it takes longer than {self.limits.seconds:g} seconds: {_LESS}")


_LESS = "ask for fewer nights or customers, or read the nights as Parquet (serving.parquet)"


def _size(value: Any) -> int:
    """About how much memory a value takes, or an array or an object of JSON with what is in it."""
    within = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sys.getsizeof(value) + sum(map(_size, within))


def _on_sqlite(path: Path, sql: str, budget: _Budget) -> tuple[list[str], Rows]:
    connection = open_read_only(path)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_TEXT)
        connection.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")  # of all connections of this process
        connection.execute("PRAGMA temp_store = memory")  # what is sorted fills no disk
        connection.set_authorizer(_views_alone)
        # Python also delivers a Ctrl-C in the handler, for which SQLite then stops as it does where the answer is true.
        connection.set_progress_handler(lambda: budget.is_late, STEPS_BETWEEN_LOOKS)
        cursor = connection.execute(sql)
        return _columns(cursor.description), budget.take(cursor)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:  # Python's own errors have none
            raise _refusal(str(error)) from None
        if budget.is_late:
            raise budget.lateness() from None
        raise KeyboardInterrupt from None
    except (sqlite3.Error, sqlite3.Warning, MemoryError, UnicodeError) as error:
        raise _refusal(str(error) or "it takes too much memory") from None
    finally:
        connection.close()


def _views_alone(action: int, first: str | None, second: str | None, _schema: str | None, view: str | None) -> int:
    """SQLite asks this of every access that a statement would make; `view` is the view on whose behalf it would."""
    allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second not in ("load_extension", "writefile", "edit", "fts3_tokenizer")
    elif action == sqlite3.SQLITE_READ:
        # No column at all is count(*), for which SQLite names a view's table as if it were asked for itself.
        allowed = first in VIEWS or first in _DATABASE_OWN or view in VIEWS or second == ""
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = first in _FIXED_PRAGMAS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _on_postgresql(store: PredictionsStore, sql: str, budget: _Budget) -> tuple[list[str], Rows]:
    import psycopg

    with store.reading() as connection:
        if rights := server_rights(connection):  # a statement can put off the role that it runs under
            raise RecurError(
                f"the role of {store} has rights over the server ({', '.join(rights)}), which every query could use: "
                "let addresses.predictions name a role without them"
            )
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor:
                cursor.execute(f"set local role {READER}")
                if names := _doing_more_than_reading(cursor, sql):
                    raise _refusal(f"{', '.join(names)} may do more than read; only reading the views is allowed")
                _limit_time(cursor, budget)
                # A cursor is a SELECT. A prepared statement is one: what follows a semicolon is refused by the server.
                cursor.execute(f"declare asked no scroll cursor for {sql}", prepare=True)
                cursor.execute("fetch 0 from asked")
                columns = _columns(cursor.description)
                with closing(_fetched(cursor, budget)) as rows:  # what is not taken is cancelled
                    return columns, budget.take(rows)
        except psycopg.errors.QueryCanceled:
            raise budget.lateness() from None
        except (psycopg.Error, RecursionError, ValueError, OverflowError, MemoryError) as error:
            raise _refusal(str(error) or "it takes too much memory") from None


def _doing_more_than_reading(cursor: Any, sql: str) -> list[str]:
    """The functions named in `sql` that may have an effect, such as one that puts off the role or ends the connections
    of others: the volatile ones but `HARMLESS`. A reader in SQL could hide a name as escapes or as a text that a
    function runs; the first is refused, and what runs a text is volatile itself.
    """
    cursor.execute(
        "select distinct proname::text from pg_catalog.pg_proc "
        "where provolatile = 'v' and proname::text = any(%s) and proname::text <> all(%s) order by 1",
        (list(set(re.findall(r"\w+", sql.lower()))), list(HARMLESS)),
    )
    return ["a name in escapes (U&)"] if re.search(r'\bu&"', sql, re.IGNORECASE) else [row[0] for row in cursor]


def _fetched(cursor: Any, budget: _Budget) -> Generator[tuple[Any, ...]]:
    """The rows of the cursor `asked`, of which this process has one at a time."""
    count = ROWS_AT_ONCE
    while count == ROWS_AT_ONCE:
        _limit_time(cursor, budget)
        count = 0
        for count, row in enumerate(cursor.stream(f"fetch {ROWS_AT_ONCE} from asked"), 1):  # noqa: B007
            yield row


def _limit_time(cursor: Any, budget: _Budget) -> None:
    cursor.execute(f"set local statement_timeout = {budget.milliseconds_left}")


def _columns(description: Sequence[Any] | None) -> list[str]:
    if description is None:
        raise _refusal("it asks for no rows")
    return [column[0] for column in description]


def _refusal(reason: str) -> ConfigurationError:
    reason = re.sub(r"\s+", " ", reason).strip()
    if any(word in reason for word in ("authoriz", "prohibited", "readonly", "read-only", "permission denied")):
        reason += "; only reading the views is allowed"
    return ConfigurationError(f"the SQL cannot be run: {reason}; `recur query` alone lists the views and their columns")
