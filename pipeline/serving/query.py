"""Read-only SQL over the views, where it is the database that refuses everything else."""

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError

from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.serving.database import BUSY_SECONDS, PredictionsStore
from pipeline.serving.views import VIEWS

_DATABASE_OWN = {"sqlite_master", "sqlite_schema"}
_FIXED_PRAGMAS = {"table_info", "table_xinfo", "table_list"}


def query(store: PredictionsStore, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of one SELECT over the views.

    SQLite is opened with `mode=ro` and `query_only`, and an authorizer lets a statement read the views and nothing
    else. PostgreSQL runs it alone in a read-only transaction. Raises ConfigurationError for SQL that cannot be run, and
    RecurError where there is no database.
    """
    if not sql.strip().rstrip(";").strip():
        raise _refusal("it is empty")
    if store.on_postgresql:
        return _on_postgresql(store, sql)
    return _on_sqlite(Path(str(store.address.database)), sql)


def open_read_only(path: Path) -> sqlite3.Connection:
    """The SQLite file at `path`, opened so that nothing can be written to it. Raises RecurError where it is absent."""
    if not path.exists():
        raise RecurError(f"there are no predictions yet at {path}: run `make run`, or `recur run`")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise RecurError(f"{path} cannot be read: {error}: check its permissions and those of its folder") from None
    return connection


def _on_sqlite(path: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    connection = open_read_only(path)
    connection.set_authorizer(_views_alone)
    try:
        cursor = connection.execute(sql)
        return _columns(cursor.description), cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _refusal(str(error)) from None
    finally:
        connection.close()


def _views_alone(action: int, first: str | None, second: str | None, _schema: str | None, view: str | None) -> int:
    """SQLite asks this of every access that a statement would make; `view` is the view on whose behalf it would."""
    allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second not in ("load_extension", "writefile", "edit")
    elif action == sqlite3.SQLITE_READ:
        # No column at all is count(*), for which SQLite names a view's table as if it were asked for itself.
        allowed = first in VIEWS or first in _DATABASE_OWN or view in VIEWS or second == ""
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = first in _FIXED_PRAGMAS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _on_postgresql(store: PredictionsStore, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    import psycopg

    try:
        with store.reading() as connection:
            connection.exec_driver_sql("select 1")  # begins the transaction, read-only, before the user's statement
            driver: Any = connection.connection.driver_connection
            with driver.cursor() as cursor:
                # A prepared statement is one statement: what follows a semicolon is refused by the server.
                cursor.execute(sql, prepare=True)
                return _columns(cursor.description), cursor.fetchall()
    except (psycopg.Error, DBAPIError) as error:
        raise _refusal(str(getattr(error, "orig", None) or error)) from None


def _columns(description: Sequence[Any] | None) -> list[str]:
    if description is None:
        raise _refusal("it asks for no rows")
    return [column[0] for column in description]


def _refusal(reason: str) -> ConfigurationError:
    reason = re.sub(r"\s+", " ", reason).strip()
    if any(word in reason for word in ("authoriz", "prohibited", "readonly", "read-only")):
        reason += "; only reading the views is allowed"
    return ConfigurationError(f"the SQL cannot be run: {reason}; `recur query` alone lists the views and their columns")
