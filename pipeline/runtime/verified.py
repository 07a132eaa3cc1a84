"""Reading files as their manifest describes them: no byte is handed on whose block was not hashed and compared first.

DuckDB reads so through a file system of its own, `verified:///folder/file`, whatever it decides to read.
"""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from pipeline.runtime.manifest import BLOCK, WAY_BACK, Entry, Manifest
from pipeline.runtime.sealed import DamagedError

PROTOCOL = "verified"


class VerifiedFile:
    """A binary file, opened for reading, each thread at a position of its own."""

    mode = "rb"

    def __init__(self, path: Path, entry: Entry) -> None:
        self._path, self._entry, self._at = path, entry, threading.local()
        with path.open("rb") as opened:  # which refuses a folder by its name
            self._descriptor = os.dup(opened.fileno())
        self.closed, self.size = False, entry.size

    def read(self, count: int = -1) -> bytes:
        """Raises DamagedError where a block of what is read is not the one described."""
        start = self.tell()
        end = self.size if count is None or count < 0 else min(start + count, self.size)
        if start >= end:
            return b""
        block = start // BLOCK
        content = memoryview(os.pread(self._descriptor, -(-end // BLOCK) * BLOCK - block * BLOCK, block * BLOCK))
        for number, begin in enumerate(range(0, len(content), BLOCK), block):
            if hashlib.sha256(content[begin : begin + BLOCK]).digest() != self._entry.digest(number):
                raise DamagedError(f"{self._path} is damaged: it does not hold what was written: {WAY_BACK}")
        if block * BLOCK + len(content) < end:
            raise DamagedError(f"{self._path} is damaged: it does not hold what was written: {WAY_BACK}")
        self._at.position = end
        return bytes(content[start - block * BLOCK : end - block * BLOCK])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        self._at.position = base + offset
        return base + offset

    def tell(self) -> int:
        return getattr(self._at, "position", 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)

    def __enter__(self) -> "VerifiedFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class VerifiedFiles(AbstractFileSystem):
    """What DuckDB asks of a file system. `fault` is the first damage that was met, or the first file that cannot be
    opened, either of which DuckDB words as a traceback of its own.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.fault: DamagedError | OSError | None = None

    def open(self, path: str, mode: str = "rb", **_: Any) -> VerifiedFile:
        try:
            return _Noting(*_described(self._strip_protocol(path)), self)
        except (DamagedError, OSError) as error:
            self.fault = self.fault or error
            raise

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        file, entry = _described(self._strip_protocol(path))
        return {"name": str(file), "size": entry.size, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        return Path(self._strip_protocol(path)).exists()

    def glob(self, path: str, **_: Any) -> list[str]:
        return [path]

    def modified(self, path: str) -> Any:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(Path(self._strip_protocol(path)).stat().st_mtime, UTC)

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix(f"{PROTOCOL}://")


class _Noting(VerifiedFile):
    def __init__(self, path: Path, entry: Entry, files: VerifiedFiles) -> None:
        super().__init__(path, entry)
        self._files = files

    def read(self, count: int = -1) -> bytes:
        try:
            return super().read(count)
        except (DamagedError, OSError) as error:
            self._files.fault = self._files.fault or error
            raise


def open_verified(file: Path) -> VerifiedFile:
    """`file`, described by the manifest of its folder. Raises DamagedError where it is not."""
    return VerifiedFile(*_described(str(file)))


def verified_address(file: Path) -> str:
    """The address by which DuckDB reads `file`, described by the manifest of its folder."""
    return f"{PROTOCOL}://{file}"


def _described(path: str) -> tuple[Path, Entry]:
    file = Path(path)
    manifest = Manifest.read(file.parent)
    if manifest is None or file.name not in manifest.entries:
        raise DamagedError(f"{file} is not described by the manifest of its folder")
    return file, manifest.entries[file.name]
