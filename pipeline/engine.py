"""The embedded engine: DuckDB in memory, in UTC, with bounded memory and a place to spill to. It never goes to the
network.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
from ibis.backends.duckdb import Backend

from pipeline.leftovers import owner, sweep
from pipeline.settings import Settings

MINIMUM_MEMORY = 1 << 30


def connect(settings: Settings | None = None) -> Backend:
    """DuckDB as an Ibis backend, for work that is written as Ibis expressions."""
    backend = ibis.duckdb.connect(**_configuration(settings))
    backend.raw_sql("set TimeZone = 'UTC'")
    return backend


@contextmanager
def session(settings: Settings | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB itself, for the steps that are written in SQL, closed at the end of the block."""
    connection = duckdb.connect(config=_configuration(settings))
    try:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """`text` as an SQL string, for the places (COPY, views) where the engine takes no bound parameter."""
    return "'" + str(text).replace("'", "''") + "'"


def _configuration(settings: Settings | None) -> dict[str, Any]:
    folder = settings.var if settings else Path(tempfile.gettempdir()) / "recur"
    spill = folder / "spill" / owner()  # processes that share a folder would overwrite each other's files
    spill.parent.mkdir(parents=True, exist_ok=True)
    sweep(spill.parent)
    return {
        "threads": os.cpu_count() or 1,
        "memory_limit": f"{max(MINIMUM_MEMORY, _physical_memory() // 4) >> 20}MiB",
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _physical_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
