"""What lies beside an SQLite file of predictions: the last night that was published into it, so that a file which is
lost, or empty, is not taken for a store that never held a night.
"""

from contextlib import suppress
from pathlib import Path

from pipeline.runtime.errors import RecurError
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed

FORMAT = 1


def note_published(database: Path, last: str) -> None:
    """Writes that the night `last`, an ISO date, is the latest in `database`."""
    write_sealed(_note(database), {"last": last}, FORMAT)


def require_kept(database: Path) -> None:
    """Raises RecurError where `database` is missing or empty and held published nights."""
    if database.exists() and database.stat().st_size:
        return
    last = None
    with suppress(FileNotFoundError, DamagedError):  # the next publication writes it again
        last = read_sealed(_note(database), FORMAT).get("last")
    if last:
        fault = "is empty" if database.exists() else "is missing"
        raise RecurError(
            f"{database} {fault}, although nights were published into it, the last {last}: put it back from a backup, "
            f"or begin a new history: remove {_note(database)} and publish with `recur score`"
        )


def _note(database: Path) -> Path:
    return database.with_name(f"{database.name}.published")
