"""What a process that was killed leaves behind is known by its owner's name, and removed by the next that comes by."""

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
    """Removes the files and folders `<prefix><owner><suffix>` of `folder` whose owner was a process of this machine and
    is no more. What processes of other machines own is theirs to remove.
    """
    machine = f"{prefix}{socket.gethostname()}-"
    for one in folder.glob("*") if folder.is_dir() else ():
        number = one.name.removeprefix(machine).removesuffix(suffix)
        if one.name.startswith(machine) and one.name.endswith(suffix) and number.isdigit():
            _remove_if_dead(one, int(number))


def sweep_below(folder: Path) -> None:
    """Removes every temporary file and folder below `folder` whose owner was a process of this machine and is no more,
    and every spilled file of such a process.
    """
    owned = re.compile(rf"(?:\..*\.|)({re.escape(socket.gethostname())})-(\d+)(?:\.tmp|)")
    for one in sorted(folder.rglob("*")):
        if found := owned.fullmatch(one.name):
            _remove_if_dead(one, int(found[2]))


def _remove_if_dead(one: Path, number: int) -> None:
    if psutil.pid_exists(number):
        return
    if one.is_dir():
        shutil.rmtree(one, ignore_errors=True)
    else:
        one.unlink(missing_ok=True)
