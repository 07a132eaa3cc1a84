"""DuckDB, embedded: in memory, in UTC, with bounded memory and a place to spill to; it never goes to the network."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder, owner, sweep
from pipeline.runtime.verified import VerifiedFiles

MINIMUM_MEMORY = 1 << 30
NIGHT_MEMORY = 2 << 30
"""What the steps written in SQL take at most, since a night is a stream: past it they spill."""

PARQUET = "format parquet, dictionary_size_limit 1000"
"""How a night's Parquet on its way to the store is written: no dictionaries of what hardly repeats, ids and texts of
numbers, which cost a third of the writing.
"""


@contextmanager
def session(state: StateFolder | None = None, memory: int = NIGHT_MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for the block, which takes at most `memory` bytes, and no more than this machine's share. It reads
    what a manifest describes by `verified_address`, and raises DamagedError where that is not as it was written,
    OSError where it cannot be opened, and RecurError where another file cannot be read or written.
    """
    configuration: dict[str, Any] = {
        "threads": os.cpu_count() or 1,
        "memory_limit": f"{min(memory_limit(), memory) >> 20}MiB",
        "temp_directory": str(spill_folder(state)),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection, files = duckdb.connect(config=configuration), VerifiedFiles()
    try:
        connection.register_filesystem(files)
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        yield connection
    except duckdb.Error as error:
        if files.fault is not None:
            raise files.fault from None
        if isinstance(error, duckdb.IOException):
            raise RecurError(f"{str(error).splitlines()[0]}: check that it exists and is yours") from error
        raise
    finally:
        connection.close()


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """`text` as an SQL string, for the places (COPY, views) where the engine takes no bound parameter."""
    return "'" + str(text).replace("'", "''") + "'"


def spill_folder(state: StateFolder | None) -> Path:
    """Where this process may spill to; what processes that are no more left there is removed."""
    folder = state.path if state else Path(tempfile.gettempdir()) / "recur"
    spill = folder / "spill" / owner()  # processes that share a folder would overwrite each other's files
    spill.parent.mkdir(parents=True, exist_ok=True)
    sweep(spill.parent)
    return spill


def memory_limit() -> int:
    """Bytes that an engine may take of this machine: a quarter, and no less than it needs."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(MINIMUM_MEMORY, physical // 4)
