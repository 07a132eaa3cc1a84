"""The full build of features from an event store, written as shards, beside DuckDB's bare sort, pandas, Featuretools
and pytorch-lifestream.

`--events N` sets the size (customers are a fiftieth of it); `--large N` a size that is built once, to see speed and
memory grow; `--curve A,B,...` sizes for the plot of cost against size; `--pandas A,B,...` the sizes at which pandas is
met, as far as it finishes; `--featuretools A,B,...` and `--lifestream N` those of the other two, which get environments
of their own (0 leaves one out). Each run is a process of its own, and importing is not counted.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import benchmarks.support.results
from benchmarks.support.environments import environment, versions

if TYPE_CHECKING:
    from features.examples.request import BuildRequest
    from pipeline.datasets.duckdb_engine import DuckDB
    from pipeline.event_store.store import AsOf

EVENTS_A_CUSTOMER, DAYS, CUTOFFS, THREADS, MEMORY = 50, 730, 12, 2, "2GB"
START = datetime(2023, 1, 1, tzinfo=UTC)
END = START + timedelta(days=DAYS)
GRID = [END - timedelta(days=28 + 7 * weeks) for weeks in reversed(range(CUTOFFS))]
CUSTOMERS_DRAWN, ROWS_A_GROUP = 50_000, 1 << 15  # so many customers are made at once, and rows a group of the store
SECONDS_A_PEER = 600  # that a peer may take for one run before a size counts as not finished
LIBRARIES = {
    "featuretools": ["featuretools", "pandas<3", "pyarrow"],
    "lifestream": ["torch==2.13.0", "pytorch-lifestream==0.6.0", "pandas<3", "pyarrow"],
}
OURS = (sys.executable, "ours")
Run = dict[str, float]


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="feature-build")
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--large", type=int, default=0)
    options.add_argument("--curve", type=_sizes, default=[1_000_000, 2_000_000, 5_000_000, 10_000_000])
    options.add_argument("--pandas", type=_sizes, default=[500_000, 2_000_000, 5_000_000])
    options.add_argument("--featuretools", type=_sizes, default=[10_000, 50_000])
    options.add_argument("--lifestream", type=int, default=500_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--scratch", type=Path, help="where the events are made, a hundred bytes each")
    options.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = options.parse_args(arguments)
    if asked.one:
        print(json.dumps(_measured(ONE[asked.one[0]], Path(asked.one[1]))))
        return
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        _compared(asked, Path(scratch))


def _compared(asked: argparse.Namespace, folder: Path) -> None:
    """Every size with its peers, interleaved, and what was found written down."""
    figures, peers, ratios, others = {}, {}, {}, {}
    found = _interleaved(
        {"ours": (sys.executable, "ours"), "sort": (sys.executable, "sort")}, asked.events, asked.runs, folder
    )
    curve = {asked.events: found["ours"]}
    seconds = _median(found["ours"])
    figures |= {
        "events_per_second": asked.events / seconds,
        "seconds": seconds,
        "examples": found["ours"][0]["examples"],
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in found["ours"]),
    }
    peers["bare_sort"] = {"events_per_second": asked.events / _median(found["sort"])}
    ratios["of_bare_sort"] = _ratio(found["sort"], found["ours"])
    for name, sizes in (
        ("pandas", asked.pandas),
        ("featuretools", asked.featuretools),
        ("lifestream", [asked.lifestream]),
    ):
        python = sys.executable if name == "pandas" else environment(name, LIBRARIES[name]) if any(sizes) else None
        if python is None:
            print(f"{name}: left out", flush=True)
            continue
        found = versions(python, LIBRARIES.get(name, [])[:2])
        others |= {f"{package} beside {name}": version for package, version in found.items()}
        for size in filter(None, sizes):
            found = _interleaved(
                {"ours": (sys.executable, "in_memory"), name: (python, name)}, size, asked.runs, folder
            )
            if not found[name]:
                print(f"{name}: does not finish {size:,} events", flush=True)
                break
            figures[f"{name}_events"] = size
            peers[name] = {"events_per_second": size / _median(found[name])}
            ratios[name] = ratios[f"{name}_{size}"] = _ratio(found[name], found["ours"])
    for size in filter(None, [*asked.curve, asked.large]):
        if size not in curve:
            curve[size] = _interleaved({"ours": OURS}, size, 1, folder)["ours"]
    for size, runs in sorted(curve.items()):
        figures[f"events_per_second_{size}"] = size / _median(runs)
        figures[f"peak_memory_bytes_{size}"] = max(run["peak_memory_bytes"] for run in runs)
    if asked.large:
        ratios["large_of_events"] = figures[f"events_per_second_{asked.large}"] / figures["events_per_second"]
    sizes = {"events": asked.events, "customers": asked.events // EVENTS_A_CUSTOMER, "cutoffs": CUTOFFS, "windows": 5}
    file = benchmarks.support.results.write("feature-build", sizes, figures, peers, ratios, others)
    _plot(curve, file.with_suffix(".png"))


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


def _median(runs: list[Run]) -> float:
    return statistics.median(run["seconds"] for run in runs)


def _ratio(peer: list[Run], ours: list[Run]) -> float:
    """How many times the peer's seconds ours are: the median over interleaved runs."""
    return statistics.median(one["seconds"] / other["seconds"] for one, other in zip(peer, ours, strict=True))


def _interleaved(who: dict[str, tuple[str, str]], events: int, runs: int, folder: Path) -> dict[str, list[Run]]:
    """`runs` runs of each in turn on the same events; none of a peer that fails or takes too long."""
    file, found = _store(folder, events), {name: [] for name in who}
    failed = set()
    for _ in range(runs):
        for name, (python, work) in who.items():
            if failed:
                continue
            run = _one(python, work, file)
            if run is None:
                failed.add(name)
                continue
            found[name].append(run)
            print(
                f"{name}, {events:,} events: {run['seconds']:.2f} s, {run['peak_memory_bytes'] / 1e9:.2f} GB",
                flush=True,
            )
    file.unlink()
    return {name: [] if name in failed else results for name, results in found.items()}


def _plot(curve: dict[int, list[Run]], file: Path) -> None:
    """Seconds a million events, and peak memory, against size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    sizes = sorted(curve)
    figure, (cost, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    cost.plot(sizes, [_median(curve[size]) / size * 1e6 for size in sizes], marker="o")
    cost.set(xscale="log", xlabel="events", ylabel="seconds a million events", ylim=0)
    peaks = [max(run["peak_memory_bytes"] for run in curve[size]) / 1e9 for size in sizes]
    memory.plot(sizes, peaks, marker="o")
    memory.set(xscale="log", xlabel="events", ylabel="peak memory, GB", ylim=0)
    figure.suptitle(f"Full feature build, {CUTOFFS} cutoffs, {THREADS} threads")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _one(python: str, name: str, file: Path) -> Run | None:
    command = [python, "-m", "benchmarks", "feature-build", "--one", name, str(file)]
    if python != sys.executable:  # without this environment, so without this package's imports
        command = [python, str(Path(__file__).parent / "support" / "peers.py"), name, str(file), json.dumps(_cutoffs())]
    try:
        limit = None if name in ("ours", "in_memory", "sort") else SECONDS_A_PEER
        told = subprocess.DEVNULL if python != sys.executable else None  # peers warn by the thousand
        answer = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=told, text=True, check=True, timeout=limit
        ).stdout
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        if name in ("ours", "in_memory", "sort"):
            raise
        print(f"{name}: {type(error).__name__}", flush=True)
        return None
    return dict(json.loads(answer.splitlines()[-1]))


def _measured(work: Callable[[Path], int], file: Path) -> dict[str, float]:
    for module in ("duckdb", "pandas", "pipeline.datasets.duckdb_engine", "pipeline.datasets.dataset_files"):
        import_module(module)
    began = time.monotonic()
    examples = work(file)
    seconds = time.monotonic() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": seconds, "examples": examples, "peak_memory_bytes": peak}


def _store(folder: Path, events: int) -> Path:
    """An event store's object: random events of two years, as a night writes them; customers in runs, in order."""
    import duckdb
    import pyarrow.parquet as pq

    from pipeline.runtime.described import describe

    file, writer = folder / f"{events}.parquet", None
    customers = max(events // EVENTS_A_CUSTOMER, 1)
    with duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY}) as engine:
        engine.execute("set TimeZone = 'UTC'")
        for first in range(0, customers, CUSTOMERS_DRAWN):
            here = min(CUSTOMERS_DRAWN, customers - first)
            drawn = events // customers * here
            number = f"hash(number + {first * EVENTS_A_CUSTOMER}"
            table = engine.sql(
                f"with drawn as (select md5((number + {first * EVENTS_A_CUSTOMER})::varchar)[:16] as event_id, "
                f"'c' || lpad(({first} + {number}, 1) % {here})::varchar, 8, '0') as customer_id, timestamptz "
                f"'2023-01-01 00:00:00+00' + to_seconds(({number}, 2) % {DAYS * 86_400})::bigint) as event_time, "
                f"'purchase' as event_type, ({number}, 3) % 10_000) / 100.0 as amount, "
                f"(1 + {number}, 4) % 5)::double as quantity from range({drawn}) _(number)) select event_id, "
                "customer_id, event_time, date_trunc('day', event_time) + interval 1 day as known_time, event_type, "
                "amount, quantity, false as deleted from drawn order by customer_id, event_time, event_id"
            ).to_arrow_table()
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROWS_A_GROUP)
        assert writer is not None
        writer.close()
    describe(folder, [file.name])  # the store reads nothing that it cannot verify
    return file


def _ours(file: Path) -> int:
    """From the store to files: as the store's sorted copy is a file."""
    from pipeline.datasets.dataset_files import shards_of
    from pipeline.datasets.shard_files import size_of

    out = file.with_suffix(".features")
    engine, events, request = _asked(file)
    engine.write(events, request, out)
    examples = sum(len(size_of(shard).cutoff) for shard in shards_of(out))
    shutil.rmtree(out)
    return examples


def _in_memory(file: Path) -> int:
    """From the store to arrays: as the peers end in frames."""
    from features.examples.merging import together

    engine, events, request = _asked(file)
    return len(together(engine.shards(events, request), request.spec.horizons))


def _asked(file: Path) -> "tuple[DuckDB, AsOf, BuildRequest]":
    """The engine, a store of this one object, which corrects nothing, and the examples that are asked for."""
    import numpy as np

    from features.examples.request import BuildRequest
    from features.question import Question
    from features.time import microseconds
    from pipeline.datasets.duckdb_engine import DuckDB
    from pipeline.event_store.store import AsOf
    from pipeline.runtime.paths import StateFolder

    moments = np.array([microseconds(cutoff) for cutoff in GRID])
    request = BuildRequest(moments, Question().spec({}), microseconds(END))
    return DuckDB(StateFolder(file.parent)), AsOf((file,), END, None, False, {}), request


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
    from benchmarks.support.peers import pandas_features

    return pandas_features(str(file), _cutoffs())


def _cutoffs() -> list[str]:
    return [cutoff.isoformat() for cutoff in GRID]


ONE = {"ours": _ours, "in_memory": _in_memory, "sort": _sort, "pandas": _pandas}
