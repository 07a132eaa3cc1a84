"""Where local state lies: one name for each file, used by the steps that write it and read it.

Temporary files bear the name of the process that owns them, so that those of a killed process can be removed.
"""

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night


@dataclass(frozen=True)
class StateFolder:
    """The one folder under which all local state lies, `paths.var`."""

    path: Path

    def staged(self, night: Night) -> Path:
        """What a source gave for one night, as text and numbers, before validation."""
        return self.path / "staged" / f"{night.name}.parquet"

    def accepted(self, night: Night) -> Path:
        """The events of one night that validation accepted, before they are loaded."""
        return self.path / "accepted" / f"{night.name}.parquet"

    def quarantine(self, night: Night) -> Path:
        """The rows of one night that were set aside, each with its reason."""
        return self.path / "quarantine" / f"{night.name}.parquet"

    @property
    def data_docs(self) -> Path:
        """The Great Expectations project."""
        return self.path / "great_expectations"

    @property
    def data_docs_page(self) -> Path:
        """The first page of its Data Docs."""
        return self.data_docs / "uncommitted" / "data_docs" / "local_site" / "index.html"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def airflow(self) -> Path:
        """Airflow's home: its configuration, database and passwords."""
        return self.path / "airflow"

    def snapshot(self, cutoff: datetime) -> Path:
        """The folder of one training: examples, both views, splits, and every model's predictions on them."""
        return self.path / "snapshots" / cutoff.date().isoformat()

    def scored(self, night: Night) -> Path:
        """The scores of one night, before they are published."""
        return self.path / "scored" / f"{night.name}.parquet"

    def not_scored(self, night: Night) -> Path:
        """The customers that were known on a night and not eligible, each with the reason."""
        return self.path / "not_scored" / f"{night.name}.parquet"

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Only one process, or thread, at a time does `what`; others wait here. A killed one holds nothing up."""
        with self._lock(what).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def writing(self, alone: bool = False) -> Iterator[None]:
        """All that writes state of customers does so in here, side by side, or `alone`, with no other at it."""
        with self._lock("writers").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    @contextmanager
    def at_work(self, what: str, refusal: str) -> Iterator[None]:
        """Only one process at a time does `what`. Raises RecurError, with `refusal` and who, where another does."""
        with self._lock(what).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RecurError(f"{refusal} ({file.read().strip() or 'a process that has just begun'})") from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M}")
            file.flush()
            yield

    def _lock(self, what: str) -> Path:
        path = self.path / "locks" / what
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, durably, when the block ends without an error. What a killed
    process left of such a file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, f".{path.name}.", ".tmp")
    temporary = path.with_name(f".{path.name}.{owner()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """A new folder beside `path` that becomes it when the block ends without an error, unless another process was
    first. What a killed process left of such a folder is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, f".{path.name}.", ".tmp")
    temporary = path.with_name(f".{path.name}.{owner()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if not path.exists():
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def owner() -> str:
    """This process, for the names of its temporary files: the machine's name and the process's number."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sweep(folder: Path, prefix: str = "", suffix: str = "") -> None:
    """Removes the files and folders `<prefix><owner><suffix>` of `folder` whose owner was a process of this machine
    and has ended. Files of other machines are left to them.
    """
    _remove_of_ended(folder.glob("*"), re.escape(prefix), re.escape(suffix))


def sweep_below(folder: Path) -> None:
    """Removes every temporary file and folder below `folder` whose owner was a process of this machine and has ended,
    and every spilled file of such a process.
    """
    _remove_of_ended(sorted(folder.rglob("*")), r"(?:\..*\.|)", r"(?:\.tmp|)")


def _remove_of_ended(paths: Iterable[Path], prefix: str, suffix: str) -> None:
    owned = re.compile(rf"{prefix}{re.escape(socket.gethostname())}-(\d+){suffix}")
    for path in paths:
        if (match := owned.fullmatch(path.name)) and not psutil.pid_exists(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
