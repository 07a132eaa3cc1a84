"""Files that their writer describes in the manifest of a folder above them, and that are verified before they are read.
What an earlier recur left has no description, and is read as it is.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.manifest import Entry, Manifest, alone_in
from pipeline.runtime.paths import atomically
from pipeline.runtime.sealed import DamagedError


@contextmanager
def described(folder: Path, name: str) -> Iterator[Path]:
    """As `atomically`, for the file `name` below `folder`, whose manifest describes it from then on."""
    with alone_in(folder):
        manifest = Manifest.read(folder) or Manifest(folder)
        with atomically(folder / name) as temporary:
            yield temporary
            entry = Entry.of(temporary)
            Manifest(folder, manifest.entries, {name: entry}).write()
        manifest.with_file(name, entry).write()


def describe(folder: Path, names: Iterable[str]) -> None:
    """The manifest of `folder` describes just these files of it, as they are now."""
    with alone_in(folder):
        Manifest(folder, {name: Entry.of(folder / name) for name in names}).write()


def was_written(folder: Path, name: str) -> bool:
    """Whether `folder` has the file `name`, or had it: it may be lost since. Raises DamagedError."""
    if (folder / name).exists():
        return True
    manifest = Manifest.read(folder)
    return manifest is not None and name in manifest.entries


def whole(folder: Path, name: str, way_back: str) -> Path:
    """The file `name` below `folder`, once all its bytes are verified. Raises DamagedError, with the `way_back`, where
    they are not what was written.
    """
    require_whole(folder, way_back, [name])
    return folder / name


def require_whole(folder: Path, way_back: str, names: Iterable[str] | None = None) -> None:
    """Raises DamagedError where one of these files, by default of all that are described, is not what was written."""
    try:
        manifest = Manifest.read(folder) or Manifest(folder)
    except DamagedError as error:
        raise DamagedError(f"{error}: {way_back}") from None
    for name in sorted(manifest.entries) if names is None else names:
        if name in manifest.entries and not manifest.entries[name].is_of(folder / name):
            fault = "is damaged: it does not hold what was written" if (folder / name).exists() else "is missing"
            raise DamagedError(f"{folder / name} {fault}: {way_back}")
