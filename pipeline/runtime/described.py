"""Files that their writer describes in the manifest of a folder above them, and that are verified before they are read.
What an earlier recur left has no description, and is read as it is.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.manifest import Entry, Manifest, alone_in
from pipeline.runtime.paths import atomically
from pipeline.runtime.sealed import DamagedError

ANEW = "put it back from a backup, or remove it: what it described is then read as it is"


@contextmanager
def described(folder: Path, name: str) -> Iterator[Path]:
    """As `atomically`, for the file `name` below `folder`, whose manifest describes it from then on."""
    with alone_in(folder):
        manifest = _manifest(folder)
        with atomically(folder / name) as temporary:
            yield temporary
            entry = Entry.of(temporary)
            Manifest(folder, manifest.entries, {name: entry}).write()
        manifest.with_file(name, entry).write()


@contextmanager
def rewritten(file: Path) -> Iterator[Path]:
    """As `atomically`, for a file that the manifest of its folder goes on describing where it did."""
    is_described = file.name in _manifest(file.parent).entries
    with described(file.parent, file.name) if is_described else atomically(file) as temporary:
        yield temporary


def describe(folder: Path, names: Iterable[str]) -> None:
    """The manifest of `folder` describes just these files of it, as they are now."""
    with alone_in(folder):
        Manifest(folder, {name: Entry.of(folder / name) for name in names}).write()


def describe_new(folder: Path, names: Iterable[str]) -> None:
    """The manifest of `folder` describes just these files of it: those that it described as before, others as they are
    now.
    """
    with alone_in(folder):
        before = _manifest(folder).entries
        Manifest(folder, {name: before.get(name) or Entry.of(folder / name) for name in names}).write()


def remove(file: Path) -> None:
    """Removes a file, which the manifest of its folder then describes no more."""
    if file.name in _manifest(file.parent).entries:
        with alone_in(file.parent):
            _manifest(file.parent).without(file.name).write()
    file.unlink(missing_ok=True)


def was_written(folder: Path, name: str) -> bool:
    """Whether `folder` has the file `name`, or had it: it may be lost since. Raises DamagedError."""
    return (folder / name).exists() or name in _manifest(folder).entries


def whole(folder: Path, name: str, way_back: str) -> Path:
    """The file `name` below `folder`, once all its bytes are verified. Raises DamagedError, with the `way_back`, where
    they are not what was written.
    """
    require_whole(folder, way_back, [name])
    return folder / name


def is_whole(file: Path) -> bool:
    """Whether a file is there and, where the manifest of its folder describes it, what was written. Raises DamagedError
    where that manifest is damaged.
    """
    entry = _manifest(file.parent).entries.get(file.name)
    return file.exists() and (entry is None or entry.is_of(file))


def require_whole(folder: Path, way_back: str, names: Iterable[str] | None = None) -> None:
    """Raises DamagedError where one of these files, by default of all that are described, is not what was written."""
    manifest = _manifest(folder, way_back)
    for name in sorted(manifest.entries) if names is None else names:
        if name in manifest.entries and not manifest.entries[name].is_of(folder / name):
            fault = "is damaged: it does not hold what was written" if (folder / name).exists() else "is missing"
            raise DamagedError(f"{folder / name} {fault}: {way_back}")


def require_listed(folder: Path, way_back: str) -> None:
    """Raises DamagedError where a described file is missing or has another size; none is opened."""
    for name in _manifest(folder, way_back).missing_or_resized():
        fault = "has another size than when it was written" if (folder / name).exists() else "is missing"
        raise DamagedError(f"{folder / name} {fault}: {way_back}")


def _manifest(folder: Path, way_back: str = ANEW) -> Manifest:
    try:
        return Manifest.read(folder) or Manifest(folder)
    except DamagedError as error:
        raise DamagedError(f"{error}: {way_back}") from None
