"""The manifest of a folder: what each of its files must hold, so that damage is noticed before anything is read.

A file is described by its size, its SHA-256 (that of `sha256sum`) and the SHA-256 of every block of it, by which a
reader of a few bytes need not hash them all. The manifest bears its own digest. To replace a file and its description
at one instant, a writer first notes the new description as *pending*: whatever instant kills it, the file is one of the
two that are described.
"""

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed

NAME = "_manifest.json"  # readers of a folder of Parquet skip what begins with _
FORMAT = 1
BLOCK = 1 << 16
DIGEST_BYTES = 32
WAY_BACK = "put it back from a backup, or move the event store away and load it again with `recur ingest`"
AT_ONCE = 64  # blocks that one thread reads and hashes


@dataclass(frozen=True)
class Entry:
    """One file: `size` in bytes, its SHA-256, those of its blocks of `BLOCK` bytes one after another, and what its
    writer says of it.
    """

    size: int
    sha256: str
    blocks: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path, facts: Mapping[str, Any] | None = None) -> Self:
        """The description of `file` as it is now."""
        whole, blocks, size = hashlib.sha256(), bytearray(), 0
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                whole.update(block)
                blocks += hashlib.sha256(block).digest()
                size += len(block)
        return cls(size, whole.hexdigest(), bytes(blocks), facts or {})

    def is_of(self, file: Path) -> bool:
        """Whether `file` is byte for byte what this describes. Its blocks are hashed on all cores."""
        try:
            with file.open("rb") as opened, ThreadPoolExecutor(os.cpu_count()) as pool:
                if os.fstat(opened.fileno()).st_size != self.size:
                    return False
                firsts = range(0, len(self.blocks) // DIGEST_BYTES, AT_ONCE)
                return all(pool.map(lambda first: self._is_whole(opened.fileno(), first), firsts))
        except FileNotFoundError:
            return False

    def digest(self, block: int) -> bytes:
        """The SHA-256 of the block of that number."""
        return self.blocks[block * DIGEST_BYTES : (block + 1) * DIGEST_BYTES]

    def _is_whole(self, descriptor: int, first: int) -> bool:
        content = memoryview(os.pread(descriptor, AT_ONCE * BLOCK, first * BLOCK))
        blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
        expected = self.blocks[first * DIGEST_BYTES : (first + AT_ONCE) * DIGEST_BYTES]
        return b"".join(hashlib.sha256(block).digest() for block in blocks) == expected


@dataclass(frozen=True)
class Manifest:
    """The files of `folder` by name. A new one describes none."""

    folder: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)
    pending: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / NAME

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The manifest of `folder`; None where it has none. What is pending is decided by the files as they are. Raises
        DamagedError where it cannot be read, and RecurError where a later recur wrote it.
        """
        try:
            status = (folder / NAME).stat()
        except FileNotFoundError:
            return None
        manifest = _read(folder, (status.st_mtime_ns, status.st_size, status.st_ino))
        done = {name: entry for name, entry in manifest.pending.items() if entry.is_of(folder / name)}
        return cls(folder, {**manifest.entries, **done}) if manifest.pending else manifest

    def with_file(self, name: str, entry: Entry) -> "Manifest":
        return Manifest(self.folder, {**self.entries, name: entry})

    def without(self, name: str) -> "Manifest":
        return Manifest(self.folder, {other: entry for other, entry in self.entries.items() if other != name})

    def write(self) -> None:
        content: dict[str, Any] = {"block": BLOCK, "files": _as_json(self.entries)}
        if self.pending:
            content["pending"] = _as_json(self.pending)
        write_sealed(self.file, content, FORMAT, indent=1)

    @contextmanager
    def replacing(self, name: str, entry: Entry) -> Iterator[None]:
        """The block puts the file that `entry` describes into its place."""
        Manifest(self.folder, self.entries, {name: entry}).write()
        yield
        self.with_file(name, entry).write()

    def missing_or_resized(self) -> list[str]:
        """The files that are not there or have another size, ascending; none is opened."""
        sizes = {}
        with suppress(FileNotFoundError), os.scandir(self.folder) as scanned:
            for each in scanned:
                if each.name in self.entries:
                    with suppress(OSError):  # of a link that leads nowhere
                        sizes[each.name] = each.stat().st_size
        return sorted(name for name, entry in self.entries.items() if sizes.get(name) != entry.size)

    def damaged(self) -> list[str]:
        """The files that are not what they should be, ascending; every one is read to its end."""
        return sorted(name for name, entry in self.entries.items() if not entry.is_of(self.folder / name))


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Only one process, or thread, at a time changes the manifest of `folder`, which is made; others wait here."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@lru_cache(maxsize=8)
def _read(folder: Path, stamp: tuple[int, int, int]) -> Manifest:
    content = read_sealed(folder / NAME, FORMAT)
    try:
        return Manifest(folder, _from_json(content["files"]), _from_json(content.get("pending", {})))
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"{folder / NAME} is damaged: it is not the JSON of a manifest") from None


def _as_json(entries: Mapping[str, Entry]) -> dict[str, Any]:
    return {
        name: {
            "size": entry.size,
            "sha256": entry.sha256,
            "blocks": base64.b64encode(entry.blocks).decode(),
            **entry.facts,
        }
        for name, entry in sorted(entries.items())
    }


def _from_json(content: Mapping[str, Any]) -> dict[str, Entry]:
    def entry(size: int, sha256: str, blocks: str, **facts: Any) -> Entry:
        return Entry(size, sha256, base64.b64decode(blocks), facts)

    return {name: entry(**values) for name, values in content.items()}
