"""A disk that is full, and one that turns read-only, before or in the middle of each step of a night: the step ends in
one clear line, nothing half done is ever seen, and the next run with space makes the night of an uninterrupted one.

It needs a file system of its own (a small tmpfs) and skips, saying so, where it may not mount one.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.worlds.one_night import (
    STEPS,
    differences,
    do,
    finish,
    import_everything,
    make_world,
    restore,
    start,
    state,
    work_through,
)

SIZE_MIB = 192
ROOM = [0, 96 << 10, 400 << 10]
"""Bytes left free: from nothing to what a step needs for a part of its files."""


def main() -> bool:
    import_everything()
    began, errors, wrong = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as scratch:
        disk, pristine = Path(scratch) / "disk", Path(scratch) / "pristine"
        if not _mounted(disk):
            print("skipped: no file system can be mounted here (it takes root)")
            return True
        try:
            folder = disk / "night"
            finish(start(make_world, pristine)[0])
            restore(pristine, folder)
            assert finish(start(work_through, folder)[0]), "the uninterrupted night failed"
            expected = state(folder)
            for name, spoilt in _faults(disk):
                for step in STEPS:
                    restore(pristine, folder)
                    for earlier in STEPS[: STEPS.index(step)]:
                        assert not _outcome(folder, earlier)
                    with spoilt():
                        line = _outcome(folder, step)
                    errors += bool(line)
                    print(f"{name}, {step}: {line or 'had room enough'}", flush=True)
                    wrong += [f"{name}, {step}: {fault}" for fault in _faults_of(line, name)]
                    if not finish(start(work_through, folder)[0]):
                        wrong.append(f"{name}, {step}: the night could not be done again")
                        continue
                    wrong += [f"{name}, {step}: {what}" for what in differences(expected, state(folder))]
        finally:
            subprocess.run(["umount", str(disk)], check=False)
    print("\n".join(wrong) or "every error is one clear line, and the night after it that of an uninterrupted run")
    print(f"seconds: {time.monotonic() - began:.0f}")
    print(f"disagreements after {errors} steps that failed: {len(wrong)}")
    return not wrong and errors >= len(STEPS)


def _faults(disk: Path) -> Iterator[tuple[str, Callable[[], "contextmanager[None]"]]]:  # type: ignore[type-arg]
    for room in ROOM:
        yield f"{room >> 10} KiB free", partial(_full, disk, room)
    yield "read-only", partial(_read_only, disk)


@contextmanager
def _full(disk: Path, room: int) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(disk).free - room
        for size in (1 << 20, 1 << 12):
            for _ in range(free // size):
                file.write(bytes(size))
            free %= size
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def _mounted(disk: Path) -> bool:
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(disk)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _outcome(folder: Path, step: str) -> str:
    """The error line of a step; empty where it does not fail."""
    process, progress = start(partial(_send_outcome, step), folder)
    line = str(progress.recv())
    finish(process)
    return line


def _send_outcome(step: str, folder: Path, progress: Connection) -> None:
    from pipeline.runtime.errors import RecurError

    try:
        do(folder, step)
        progress.send("")
    except RecurError as error:
        progress.send(str(error))
    except BaseException as error:
        progress.send(f"a traceback: {error!r}")


def _faults_of(line: str, name: str) -> list[str]:
    if not line:
        return ["a read-only disk was written to"] if name == "read-only" else []
    clear = ("read-only", "readonly") if name == "read-only" else ("no space left", "disk is full")
    if "\n" in line or line.startswith("a traceback") or not any(word in line.lower() for word in clear):
        return [f"not one clear line: {line!r}"]
    return []
