"""Temporary files bear the name of the process that owns them, so that those of a killed process can be removed."""

import os
import re
import shutil
import socket
from pathlib import Path

import psutil


def owner() -> str:
    """This process, for the names of its temporary files: the machine's name and the process's number."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sweep(folder: Path, prefix: str = "", suffix: str = "") -> None:
    """Removes the files and folders `<prefix><owner><suffix>` of `folder` whose owner was a process of this machine
    and has ended. Files of other machines are left to them.
    """
    machine = f"{prefix}{socket.gethostname()}-"
    for path in folder.glob("*") if folder.is_dir() else ():
        number = path.name.removeprefix(machine).removesuffix(suffix)
        if path.name.startswith(machine) and path.name.endswith(suffix) and number.isdigit():
            _remove_if_dead(path, int(number))


def sweep_below(folder: Path) -> None:
    """Removes every temporary file and folder below `folder` whose owner was a process of this machine and has ended,
    and every spilled file of such a process.
    """
    owned = re.compile(rf"(?:\..*\.|)({re.escape(socket.gethostname())})-(\d+)(?:\.tmp|)")
    for path in sorted(folder.rglob("*")):
        if match := owned.fullmatch(path.name):
            _remove_if_dead(path, int(match[2]))


def _remove_if_dead(path: Path, number: int) -> None:
    if psutil.pid_exists(number):
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
