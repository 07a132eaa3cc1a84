"""Features on a Spark cluster (a standalone master with two worker processes on this machine) against DuckDB: for the
same cut the shards are the same bytes; and with the same customers and a fixed Java heap, the peak memory of the
driver's Python process grows by at most a tenth from one million events to twenty. Installs pyspark, and Java where
apt may.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

from features.examples.request import BuildRequest
from features.question import Question
from features.time import microseconds
from pipeline.datasets.duckdb_engine import DuckDB
from pipeline.datasets.engine import open_engine
from pipeline.event_store.store import AsOf
from pipeline.runtime.paths import StateFolder
from tests.checks.features.engines import install_spark
from tests.support.plain_reading import ROOT

SMALL, LARGE, CUSTOMERS = 1_000_000, 20_000_000, 20_000
MOST_GROWTH = 1.1
DAYS, START = 730, datetime(2023, 1, 1, tzinfo=UTC)
END = START + timedelta(days=DAYS)
CUTOFFS = [END - timedelta(days=28 + 28 * months) for months in (2, 1, 0)]
HOST, PORT = "127.0.0.1", 17077
ADDRESS = f"spark://{HOST}:{PORT}"
HEAP = "1g"
ENVIRONMENT = {"SPARK_LOCAL_IP": HOST, "PYSPARK_PYTHON": sys.executable, "SPARK_NO_DAEMONIZE": "1"}


def main() -> bool:
    if missing := install_spark():
        print(missing)
        return False
    with tempfile.TemporaryDirectory() as scratch, _cluster(Path(scratch)):
        folder, peaks, same = Path(scratch), {}, True
        for events in (SMALL, LARGE):
            file = _store(folder, events)
            peaks[events] = _driver(file)
            print(f"{events:,} events of {CUSTOMERS:,} customers: the driver's peak {peaks[events] / 1e6:.0f} MB")
            engine, asked, request = DuckDB(StateFolder(folder / "var")), _events(file), _request()
            engine.write(asked, request, folder / "duckdb")
            differing = _differing(folder / "duckdb", file.with_suffix(".spark"))
            print(f"shards that differ from DuckDB's: {', '.join(differing) or 'none'}", flush=True)
            same = same and not differing
    growth = peaks[LARGE] / peaks[SMALL]
    print(f"growth of the driver's peak memory: {growth:.3f} (at most {MOST_GROWTH})")
    return same and growth <= MOST_GROWTH


@contextmanager
def _cluster(folder: Path) -> Iterator[None]:
    """A master and two workers of one core each, until the block ends."""
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = os.environ | ENVIRONMENT | {"SPARK_HOME": str(home), "SPARK_WORKER_DIR": str(folder / "work")}
    program = [str(home / "bin" / "spark-class"), "org.apache.spark.deploy"]

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("ab") as log:
            command = [program[0], f"{program[1]}.{name.lower()}.{name}", "--host", HOST, *arguments]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    running = [start("Master", "--port", str(PORT), "--webui-port", "0")]
    try:
        time.sleep(5)
        running += [start("Worker", "--cores", "1", "--memory", "3g", "--webui-port", "0", ADDRESS) for _ in range(2)]
        time.sleep(8)
        yield
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def _store(folder: Path, events: int) -> Path:
    """A store's object of so many random events of two years, of the same customers; a tenth is known late, and of one
    in a hundred there is a correction.
    """
    file = folder / f"{events}.parquet"
    with duckdb.connect(config={"threads": 2, "memory_limit": "4GB"}) as engine:
        engine.execute("set TimeZone = 'UTC'")
        engine.execute(
            "create table drawn as select md5(number::varchar)[:16] as event_id, "
            f"'c' || lpad((hash(number, 1) % {CUSTOMERS})::varchar, 8, '0') as customer_id, "
            f"timestamptz '{START:%Y-%m-%d} 00:00:00+00' + to_seconds((hash(number, 2) % {DAYS * 86_400})::bigint) "
            "as event_time, date_trunc('day', event_time) + interval 1 day + "
            "to_days(if(hash(number, 5) % 10 = 0, (hash(number, 6) % 20)::int, 0)) as known_time, "
            "'purchase' as event_type, (hash(number, 3) % 10000) / 100.0::double as amount, "
            f"(1 + hash(number, 4) % 5)::double as quantity, false as deleted from range({events}) _(number)"
        )
        engine.execute(
            "insert into drawn select event_id, customer_id, event_time, known_time + interval 9 day, event_type, "
            "amount + 1, quantity, deleted from drawn where hash(event_id) % 100 = 0"
        )
        engine.execute(
            f"copy (from drawn order by customer_id, event_time, event_id, known_time) to '{file}' "
            "(format parquet, compression zstd, row_group_size 32768)"
        )
    return file


def _events(file: Path) -> AsOf:
    return AsOf((file,), END, None, True, {})


def _request() -> BuildRequest:
    return BuildRequest(np.array([microseconds(cutoff) for cutoff in CUTOFFS]), Question().spec({}), microseconds(END))


def _driver(file: Path) -> int:
    """The bytes that a driver of its own takes at its peak, which writes beside `file`."""
    options = f"--driver-memory {HEAP} --conf spark.executor.memory=2g pyspark-shell"
    environment = os.environ | ENVIRONMENT | {"PYSPARK_SUBMIT_ARGS": options, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "tests.checks.features.cluster", str(file)]
    answer = subprocess.run(program, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(answer.stdout.splitlines()[-1]))


def _differing(one: Path, other: Path) -> list[str]:
    """The files of a dataset that are not the same bytes in both folders."""
    files = sorted({file.relative_to(root) for root in (one, other) for file in root.rglob("*.*")})
    assert any(pq.read_metadata(one / file).num_rows for file in files if file.name == "examples.parquet")
    return [
        str(file)
        for file in files
        if not all((root / file).exists() for root in (one, other))
        or (one / file).read_bytes() != (other / file).read_bytes()
    ]


def _write_on_spark(file: Path) -> int:
    engine = open_engine("spark", ADDRESS, StateFolder(file.parent / "var"))
    engine.write(_events(file), _request(), file.with_suffix(".spark"))
    # Not getrusage: what it tells begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(_write_on_spark(Path(sys.argv[1]))))
