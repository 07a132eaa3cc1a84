"""The ways in which a file is harmed, and a source that is sent in a file or as a table."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pandas as pd

FILE = '[source]\nkind = "csv"\npath = "events.csv"'
TABLE = '[addresses]\nsource = "sqlite:///shop.db"\n[source]\nkind = "sql"\ntable = "events"\nincremental_by = "when"'
SOURCES = {"csv": FILE, "sql": TABLE}
"""How a configuration names each kind of source."""
DAMAGES = ("deleted", "emptied", "truncated", "one bit")
MORE_DAMAGES = ("garbage", "a dangling link", "a folder", "unreadable")
GARBAGE = 7  # a seed


def harm(file: Path, damage: str, at: float = 0.5) -> None:
    """Damages `file`; `at` is where, as a share of it: the bit that is flipped, or where it is cut. A folder can only
    be deleted. What is unreadable, root reads all the same.
    """
    if damage == "deleted":
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        return
    if damage == "unreadable":
        file.chmod(0)
        return
    if damage in ("a dangling link", "a folder"):
        file.unlink()
        file.mkdir() if damage == "a folder" else file.symlink_to("nowhere")
        return
    content = bytearray(file.read_bytes())
    place = min(int(at * len(content)), len(content) - 1)
    if damage == "emptied":
        content = bytearray()
    elif damage == "garbage":
        content = bytearray(Random(GARBAGE).randbytes(max(len(content), 64)))
    elif damage == "truncated":
        content = content[:place]
    elif content:
        content[place] ^= 1 << place % 8
    file.write_bytes(content)


def send(folder: Path, kind: str, rows: pd.DataFrame) -> None:
    """The source in `folder` holds just these rows."""
    if kind == "csv":
        rows.to_csv(folder / "events.csv", index=False)
    else:
        with closing(sqlite3.connect(folder / "shop.db")) as connection:
            rows.to_sql("events", connection, if_exists="replace", index=False)
