"""`recur backup`: one consistent copy of all stores, made while nights go on.

Files are copied beside the steps first. Then, between two steps, what has changed meanwhile is copied again, and
SQLite's databases by SQLite itself: only for this second pass does a step wait. `backup.json` comes last; a folder
without it is no backup.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from pipeline.cli.forget import LOCKS
from pipeline.cli.upkeep.locations import relocate, strays
from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed
from pipeline.serving.database import open_predictions
from pipeline.training.tracking import ANYWHERE, is_sqlite, without_password

CONTENTS, FORMAT = "backup.json", 1
VAR, EVENTS, PREDICTIONS, MLFLOW = "var", "events", "predictions.db", "mlflow.db"
LEFT_OUT = ("airflow", "datasette", "locks", "logs", "backups.json", ".restoring")
"""What a copy does without below `paths.var`: Airflow's home and logs, which name this place and are made again."""
PASSING = (".tmp", "-wal", "-shm", "-journal")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Copied:
    """A copied file: what told its source from every other state of it, and what was read."""

    stamp: tuple[int, ...]
    size: int
    sha256: str


@dataclass(frozen=True)
class Stores:
    """Where each store of a configuration lies, by its name in a copy; `elsewhere` are those that are no files."""

    paths: dict[str, Path]
    elsewhere: list[str]

    @classmethod
    def of(cls, settings: Settings) -> "Stores":
        paths, elsewhere = {VAR: settings.var, EVENTS: settings.events}, []
        predictions = open_predictions(settings.predictions, settings.root)
        for name, address, shown in (
            (PREDICTIONS, predictions.address.render_as_string(hide_password=False), str(predictions)),
            (MLFLOW, settings.mlflow, without_password(settings.mlflow)),
        ):
            if address.startswith("sqlite:"):
                paths[name] = Path(str(make_url(address).database)).resolve()
            else:
                elsewhere.append(f"{name.removesuffix('.db')} at {shown}")
        return cls(paths, elsewhere)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file, SQLite's own apart, by its name in a copy."""
        apart = {path for name, path in self.paths.items() if name != VAR}
        apart |= {self.paths[VAR] / name for name in LEFT_OUT}
        yield from _files(VAR, self.paths[VAR], apart)
        yield from _files(EVENTS, self.paths[EVENTS], set())

    def databases(self) -> Iterator[tuple[str, Path]]:
        """Those of SQLite, by their names in a copy: the stores, and what else of it lies below `paths.var`."""
        for name in (PREDICTIONS, MLFLOW):
            if name in self.paths and self.paths[name].exists():
                yield name, self.paths[name]
        yield from ((name, file) for name, file in self.files() if is_sqlite(file))


def backup(settings: Settings, folder: Path) -> dict[str, Any]:
    """Copies every store into `folder`, which must be new or empty; gives what `backup.json` says. Waits for the steps
    at work. Raises RecurError where `folder` holds something or lies within a store.
    """
    folder, stores = folder.resolve(), Stores.of(settings)
    _require_empty(folder, stores)
    if moved := MLFLOW in stores.paths and strays(stores.paths[MLFLOW], settings.var):
        raise RecurError(
            f"MLflow keeps artefacts below {moved[0]}, where this state lay before it was moved or copied: run `recur "
            "check --repair`, and back up again"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copied: dict[str, Copied] = {}
    _pass(stores, folder, copied)
    with ExitStack() as locks:
        locks.enter_context(settings.state.writing(alone=True))
        for lock in LOCKS:
            locks.enter_context(settings.state.alone(lock))
        _pass(stores, folder, copied)
        for name, database in stores.databases():
            copied[name] = _copy_database(database, folder / name)
        made_at = datetime.now(UTC)
        nights = loaded_nights(settings.events)
    if MLFLOW in copied:
        relocate(folder / MLFLOW, settings.var, ANYWHERE)
        copied[MLFLOW] = _described(folder / MLFLOW)
    os.sync()
    content: dict[str, Any] = {
        "made_at": made_at.isoformat(timespec="seconds"),
        "last_night": nights[-1].isoformat() if nights else None,
        "elsewhere": stores.elsewhere,
        "files": {name: {"size": each.size, "sha256": each.sha256} for name, each in sorted(copied.items())},
    }
    write_sealed(folder / CONTENTS, content, FORMAT, indent=1)
    _remember(settings.state, folder, content["made_at"])
    return content


def backups_that_may_be_there(state: StateFolder) -> list[str]:
    """The folders of the backups that were made of this state and not removed since, as far as can be seen."""
    made = [Path(entry["folder"]) for entry in _remembered(state)]
    return [str(folder) for folder in made if folder.exists() or not folder.parent.exists()]


def digest_while_copying(source: Path, target: Path) -> Copied:
    """Copies the bytes and the time of `source`. What changes meanwhile has another stamp than the one given."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as original, target.open("wb") as copy:
        status = os.fstat(original.fileno())
        while content := original.read(CHUNK):
            digest.update(content)
            size += copy.write(content)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return Copied(_stamp(status), size, digest.hexdigest())


def _pass(stores: Stores, folder: Path, copied: dict[str, Copied]) -> None:
    """Makes `folder` and `copied` what the files are now. A file that goes meanwhile is as one that was not there."""
    present = set()
    for name, file in stores.files():
        with suppress(FileNotFoundError):
            if is_sqlite(file):
                continue
            if name not in copied or copied[name].stamp != _stamp(file.stat()):
                copied[name] = digest_while_copying(file, folder / name)
            present.add(name)
    for name in copied.keys() - present:
        (folder / name).unlink(missing_ok=True)
        del copied[name]


def _files(name: str, folder: Path, apart: set[Path]) -> Iterator[tuple[str, Path]]:
    """The files below `folder`, but for what is `apart`, temporary files, and SQLite's logs."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path in apart or path.name.endswith(PASSING) or (path.is_symlink() and path.resolve() in apart):
            continue
        if path.is_dir():
            yield from _files(f"{name}/{path.name}", path, apart)
        else:
            yield f"{name}/{path.name}", path


def _copy_database(source: Path, target: Path) -> Copied:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
            copy.execute("pragma journal_mode = delete")  # one file; who opens it next sets it to what they need
    except sqlite3.Error as error:
        raise RecurError(f"{source} cannot be copied: {error}: run `recur check --deep`") from None
    return _described(target)


def _described(file: Path) -> Copied:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Copied(_stamp(file.stat()), file.stat().st_size, digest)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _require_empty(folder: Path, stores: Stores) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecurError(f"{folder} is not empty: a backup goes into a new folder")
    for store in stores.paths.values():
        if folder.is_relative_to(store):
            raise RecurError(f"{folder} lies in {store}, which is to be copied: choose a folder outside")


def _remember(state: StateFolder, folder: Path, made_at: str) -> None:
    made = [*_remembered(state), {"folder": str(folder), "made_at": made_at}]
    write_sealed(state.path / "backups.json", {"backups": made}, FORMAT, indent=1)


def _remembered(state: StateFolder) -> list[dict[str, str]]:
    try:
        return list(read_sealed(state.path / "backups.json", FORMAT)["backups"])
    except (FileNotFoundError, DamagedError, KeyError):
        return []
