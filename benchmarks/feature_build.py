"""The full build of features from an event store, beside DuckDB's bare sort, pandas and Featuretools.

`--events N` sets the size (customers are a fiftieth of it), `--small N` the size at which pandas is met, `--tiny N` the
one at which Featuretools is, `--featuretools PYTHON` an interpreter that has it. Each run is a process of its own, and
importing is not counted.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import benchmarks.results

EVENTS_A_CUSTOMER, DAYS, CUTOFFS, THREADS, MEMORY = 50, 730, 12, 2, "2GB"
START = datetime(2023, 1, 1, tzinfo=UTC)
END = START + timedelta(days=DAYS)
WINDOWS = (7, 14, 28, 56, 91)
GRID = [END - timedelta(days=28 + 7 * weeks) for weeks in reversed(range(CUTOFFS))]


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="feature-build")
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--small", type=int, default=500_000)
    options.add_argument("--tiny", type=int, default=10_000)
    options.add_argument("--featuretools", default="")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = options.parse_args(arguments)
    if asked.one:
        print(json.dumps(_measured(ONE[asked.one[0]], Path(asked.one[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        large, small, tiny = (_store(folder, events) for events in (asked.events, asked.small, asked.tiny))
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ("ours", "sort", "ours_small", "pandas")}
        for _ in range(asked.runs):
            for name, file in (("ours", large), ("sort", large), ("ours_small", small), ("pandas", small)):
                found[name].append(_one(sys.executable, name.removesuffix("_small"), file))
                print(f"{name}: {found[name][-1]['seconds']:.1f} s", flush=True)
        if asked.featuretools:
            for name, python in (("ours_tiny", sys.executable), ("featuretools", asked.featuretools)):
                found[name] = [_one(python, name.removesuffix("_tiny"), tiny) for _ in range(asked.runs)]
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}

    def ratio(peer: str, ours: str) -> float:
        pairs = zip(found[peer], found[ours], strict=True)
        return statistics.median(one["seconds"] / other["seconds"] for one, other in pairs)

    peers = {
        "bare_sort": {"events_per_second": asked.events / seconds["sort"]},
        "pandas": {"events_per_second": asked.small / seconds["pandas"]},
    }
    ratios = {"of_bare_sort": ratio("sort", "ours"), "pandas": ratio("pandas", "ours_small")}
    others = {}
    if asked.featuretools:
        peers["featuretools"] = {"events_per_second": asked.tiny / seconds["featuretools"]}
        ratios["featuretools"] = ratio("featuretools", "ours_tiny")
        show = "from importlib.metadata import version; print(version('featuretools'))"
        others["featuretools"] = subprocess.check_output([asked.featuretools, "-c", show], text=True).strip()
    benchmarks.results.write(
        "feature-build",
        {
            "events": asked.events,
            "customers": asked.events // EVENTS_A_CUSTOMER,
            "cutoffs": CUTOFFS,
            "windows": len(WINDOWS),
            "pandas_events": asked.small,
            "featuretools_events": asked.tiny,
        },
        {
            "events_per_second": asked.events / seconds["ours"],
            "seconds": seconds["ours"],
            "examples": found["ours"][0]["examples"],
            "peak_memory_bytes": max(run["peak_memory_bytes"] for run in found["ours"]),
        },
        peers,
        ratios,
        others,
    )


def _one(python: str, name: str, file: Path) -> dict[str, float]:
    command = [python, "-m", "benchmarks", "feature-build", "--one", name, str(file)]
    if python != sys.executable:  # without this environment, so without this package's imports
        command = [python, str(Path(__file__).with_name("peers.py")), name, str(file), json.dumps(_cutoffs())]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def _measured(work: Callable[[Path], int], file: Path) -> dict[str, float]:
    for module in ("duckdb", "pandas", "features.build"):
        import_module(module)
    began = time.monotonic()
    examples = work(file)
    seconds = time.monotonic() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": seconds, "examples": examples, "peak_memory_bytes": peak}


def _store(folder: Path, events: int) -> Path:
    """An event store's object: random events of two years, as a night writes them."""
    import duckdb

    file = folder / f"{events}.parquet"
    customers = max(events // EVENTS_A_CUSTOMER, 1)
    with duckdb.connect(config={"threads": 1, "memory_limit": "4GB", "temp_directory": str(folder)}) as engine:
        engine.execute("set TimeZone = 'UTC'")
        engine.execute("select setseed(0.5)")
        engine.execute(
            f"create table drawn as select md5(number::varchar)[:16] as event_id, 'c' || lpad(floor(random() * "
            f"{customers})::bigint::varchar, 8, '0') as customer_id, timestamptz '2023-01-01 00:00:00+00' + "
            f"to_seconds(floor(random() * {DAYS * 86_400})::bigint) as event_time, 'purchase' as event_type, "
            f"round(random() * 100, 2) as amount, 1 + floor(random() * 5) as quantity from range({events}) _(number)"
        )
        engine.execute(
            "copy (select event_id, customer_id, event_time, date_trunc('day', event_time) + interval 1 day as "
            "known_time, event_type, amount, quantity, false as deleted from drawn "
            f"order by customer_id, event_time, event_id) to '{file}' (format parquet, compression zstd)"
        )
    return file


def _ours(file: Path) -> int:
    import ibis

    from features.build import build_dataset
    from features.question import Question

    engine = ibis.duckdb.connect(threads=THREADS, memory_limit=MEMORY, temp_directory=f"{file.parent}/spill")
    engine.raw_sql("set TimeZone = 'UTC'")
    known = f"known_time <= timestamptz '{END:%Y-%m-%d}'"
    engine.raw_sql(
        f"create temp view events as select *, null::timestamptz as superseded_time from read_parquet('{file}') "
        f"where {known}"
    )
    return len(build_dataset(engine.table("events"), GRID, Question(), {}, END))


def _sort(file: Path) -> int:
    import duckdb

    with duckdb.connect(
        config={"threads": THREADS, "memory_limit": MEMORY, "temp_directory": f"{file.parent}/spill"}
    ) as engine:
        engine.execute(
            f"copy (select * from read_parquet('{file}') order by customer_id, event_time, event_id) "
            f"to '{file}.sorted' (format parquet, compression zstd)"
        )
    Path(f"{file}.sorted").unlink()
    return 0


def _pandas(file: Path) -> int:
    from benchmarks.peers import pandas_features

    return pandas_features(str(file), _cutoffs())


def _cutoffs() -> list[str]:
    return [cutoff.isoformat() for cutoff in GRID]


ONE = {"ours": _ours, "sort": _sort, "pandas": _pandas}
