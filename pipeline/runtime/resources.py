"""One line for a disk that is full or turned read-only, whichever library ran into it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.paths import StateFolder

NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
CLEAR = [*map(os.strerror, sorted(NUMBERS)), "disk is full", "attempt to write a readonly database"]
UNCLEAR = ("disk I/O error", "unable to open database file")  # what SQLite says of such a disk, and of others
LITTLE = 1 << 20


@contextmanager
def disk_in_words(state: StateFolder, what: str) -> Iterator[None]:
    """Raises RecurError, which says that `what` stopped, where the disk is full or read-only; other errors pass."""
    try:
        yield
    except NothingToDo:
        raise
    except Exception as error:
        fault = _fault(state, error)
        if fault is None:
            raise
        fix = "make room there" if "space" in fault or "full" in fault else "let it be written to"
        raise RecurError(
            f"{what} stopped: {fault} under {state.path}: {fix} and run again; what was finished is kept"
        ) from error


def _fault(state: StateFolder, error: Exception) -> str | None:
    text = f"{error} {error.__cause__ or error.__context__ or ''}"
    fault = next((words for words in CLEAR if words in text), None)
    if isinstance(error, OSError) and error.errno in NUMBERS:
        fault = os.strerror(error.errno)
    if fault is None and any(words in text for words in UNCLEAR):
        fault = _disk_state(state.path)
    return fault and fault[0].lower() + fault[1:]


def _disk_state(folder: Path) -> str | None:
    """What is wrong with the disk of `folder`, by its own account; None where nothing is."""
    disk = os.statvfs(folder)
    if disk.f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    return os.strerror(errno.ENOSPC) if disk.f_bavail * disk.f_frsize < LITTLE else None
