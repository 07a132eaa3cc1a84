"""What a process that was killed leaves behind is known by its owner's name, and removed by the next that comes by."""

import os
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
        if not (one.name.startswith(machine) and one.name.endswith(suffix) and number.isdigit()):
            continue
        if psutil.pid_exists(int(number)):
            continue
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)
