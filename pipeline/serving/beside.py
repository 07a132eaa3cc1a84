"""What lies beside an SQLite file of predictions: the last night that was published into it, and the number of that
publication, which the file bears too. So a file which is lost, or empty, is not taken for a store that never held a
night, and an older copy not for the present one.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from pipeline.runtime.errors import RecurError
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed

FORMAT = 1


def number_publication(connection: Connection) -> None:
    """The store has had one publication more, once the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {publications(connection) + 1}")


def publications(connection: Connection) -> int:
    """How many there were."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def note_published(database: Path, last: str, publications: int) -> None:
    """Writes that the night `last`, an ISO date, is the latest in `database`, after so many publications."""
    write_sealed(_note(database), {"last": last, "publications": publications}, FORMAT)


def require_kept(database: Path) -> None:
    """Raises RecurError where `database` is missing or empty and held published nights."""
    if database.exists() and database.stat().st_size:
        return
    last, _ = _noted(database)
    if last:
        fault = "is empty" if database.exists() else "is missing"
        raise RecurError(
            f"{database} {fault}, although nights were published into it, the last {last}: put it back from a backup, "
            f"or begin a new history: remove {_note(database)} and publish with `recur score`"
        )


def require_latest(database: Path, count: Callable[[], int]) -> None:
    """Raises RecurError where fewer publications are in `database`, as `count` says, than there were."""
    last, noted = _noted(database)  # before the count: another process may publish at any time
    if count() < noted:
        raise RecurError(
            f"{database} is an older copy: it lacks the last publication, after which {last} was its latest night: put "
            f"the present file back, or go on from this one: remove {_note(database)} and publish the nights since "
            "again, in order, with `recur score --cutoff DATE`"
        )


def _noted(database: Path) -> tuple[str | None, int]:
    with suppress(FileNotFoundError, DamagedError):  # the next publication writes it again
        content = read_sealed(_note(database), FORMAT)
        return content.get("last"), content.get("publications", 0)
    return None, 0


def _note(database: Path) -> Path:
    return database.with_name(f"{database.name}.published")
