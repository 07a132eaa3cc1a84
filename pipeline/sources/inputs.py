"""The files of a source: those that the configuration names, here or at any address that fsspec reads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.config.source import Column, Source, SourceFile
from pipeline.runtime.errors import RecurError
from pipeline.sources.reading.plain_files import Form, plain

STAMPS = ("mtime", "LastModified", "last_modified", "updated", "created", "ETag", "etag")
"""What file systems call the moment of a file's last change, or the digest of what it holds."""


@dataclass(frozen=True)
class Input:
    """One file: its address, what it is called (`name`: its path in the project's folder, so that a project can move,
    or the address of a file that lies elsewhere), what tells it from an earlier one of that name (`stamp`), how it is
    read, which of its columns hold what (`mapped`: recur's name to the file's), the event times `[since, before)` whose
    rows are taken from it, the number of the `[[source.files]]` whose path or pattern it fits, how it is written, and
    which of its columns a database had as numbers.
    """

    address: str
    name: str
    stamp: str
    kind: str
    mapped: Mapping[str, Column]
    since: datetime | None = None
    before: datetime | None = None
    entry: int = 0
    delimiter: str | None = None
    encoding: str = "utf-8"
    header_row: int = 1
    numbers: frozenset[str] = frozenset()

    @property
    def is_remote(self) -> bool:
        return _is_remote(self.address)

    @contextmanager
    def local(self, folder: Path) -> Iterator[Path]:
        """The file on this machine, as the engine reads it, for as long as it is read: fetched into `folder` where it
        lies elsewhere, rewritten there where it must be.
        """
        form = Form(self.kind, self.encoding, self.header_row)
        with self._here(folder) as path, plain(path, folder, form) as readable:
            yield readable

    @contextmanager
    def _here(self, folder: Path) -> Iterator[Path]:
        if not _is_remote(self.address):
            yield Path(self.address)
            return
        fetched = folder / f"fetched-{self.address.rpartition('/')[2]}"
        system, path = _system(self.address)
        try:
            try:
                system.get_file(path, str(fetched))
            except Exception as error:  # whatever the file system of that address raises
                raise _unreachable(self.address, error) from None
            yield fetched
        finally:
            fetched.unlink(missing_ok=True)


def inputs_of(source: Source, files: list[SourceFile], root: Path) -> list[Input]:
    """The files that the entries `files` stand for, in their order: a file each, or those that fit its pattern, by
    name. `root` is the project's folder. Raises RecurError where there is none.
    """
    zone = ZoneInfo(source.timezone)
    inputs = []
    for entry, file in enumerate(files):
        days = (file.since, file.before)
        since, before = (None if day is None else datetime.combine(day, time(), zone) for day in days)
        for address, stamp in _listed(file.path):
            name = name_within(root, address)
            form = (source.delimiter, source.encoding, source.header_row)
            inputs.append(Input(address, name, stamp, source.kind, file.columns, since, before, entry, *form))
    return inputs


def name_within(root: Path, address: str) -> str:
    """The path of a file in the folder `root`; an address elsewhere as it is."""
    path, root = Path(address), root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else address


def _listed(pattern: str) -> list[tuple[str, str]]:
    """Addresses and stamps of the files that `pattern` names. Raises RecurError where there is none."""
    try:
        files = _remote(pattern) if _is_remote(pattern) else _here(Path(pattern))
    except FileNotFoundError:
        raise RecurError(f"{pattern} does not exist: set source.path to the file that holds your events") from None
    if not files:
        raise RecurError(f"no file fits {pattern}: set source.path to the files that hold your events")
    return files


def _here(pattern: Path) -> list[tuple[str, str]]:
    if pattern.is_dir():
        example = next((file.suffix for file in sorted(pattern.rglob("*")) if file.is_file()), "")
        raise RecurError(f"{pattern} is a folder: set source.path to the files in it, as {pattern}/**/*{example}")
    wild = [] if pattern.is_file() else [part for part in pattern.parts if _is_wild(part)]
    named = [pattern]
    if wild:
        first = pattern.parts.index(wild[0])
        named = list(Path(*pattern.parts[:first]).glob("/".join(pattern.parts[first:])))
    files = sorted({file for file in named if file.is_file()})
    if not files and not wild:
        raise FileNotFoundError
    stats = [(path, path.stat()) for path in files]
    return [(str(path), f"{stat.st_size} {stat.st_mtime_ns}") for path, stat in stats]


def _remote(pattern: str) -> list[tuple[str, str]]:
    system, path = _system(pattern)
    try:
        paths = sorted(system.glob(path)) if _is_wild(path) else [path]
        details = [(str(system.unstrip_protocol(path)), system.info(path)) for path in paths]
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever the file system of that address raises
        raise _unreachable(pattern, error) from None
    return [
        (address, " ".join([str(info.get("size")), *(str(info[name]) for name in STAMPS if name in info)]))
        for address, info in details
    ]


def _is_wild(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address)
    except (ImportError, ValueError) as error:  # an unknown protocol, or one whose package is not installed
        raise _unreachable(address, error) from None
    system.invalidate_cache()  # a listing of yesterday does not show tonight's file
    return system, str(path)


def _unreachable(address: str, error: Exception) -> RecurError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecurError(f"{address} cannot be read: {reason}: fix source.path, or the access to it")


def _is_remote(path: str) -> bool:
    return "://" in path
