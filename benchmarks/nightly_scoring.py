"""A night scored from carried state beside the same night recomputed from whole histories, for a recurrent and a
hybrid champion; and that full recompute beside the bare network's own `predict` on the same histories.

`--customers`, `--events` (of the past) and `--night` (events) set the size, `--runs` how often each is measured. Every
run is a process of its own, in which nothing but importing and loading the model is not counted; publishing and reasons
are apart. `--bare` is the share of the histories that the bare network is met on.
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
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import benchmarks.support.results
from benchmarks.support.nightly_store import DAY, END, START

ACTIVE = 91
MEAN = 60  # events a customer
SAMPLE = 2_000  # customers that the models learn from
MODELS = {"recurrent": "gru", "hybrid": "hybrid_gru"}
TOML = f"""
[source]
kind = "csv"
path = "events.csv"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
amount = "eur"
shop = "shop"
[question]
active_within = {ACTIVE}
horizons = [28]
"""


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="nightly-scoring")
    options.add_argument("--customers", type=int, default=1_000_000)
    options.add_argument("--events", type=int, default=60_000_000)
    options.add_argument("--night", type=int, default=300_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--bare", type=float, default=0.2)
    options.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = options.parse_args(arguments)
    if asked.one:
        print(json.dumps(_one(asked.one[0], Path(asked.one[1]), asked.bare)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sizes = _make(folder, asked.customers, asked.events, asked.night)
        print(f"made: {sizes}", flush=True)
        for kind in MODELS:
            _run(f"{kind} before", folder, asked.bare)
        for _ in range(asked.runs):
            for name in ("night", "full"):
                for kind in MODELS:
                    _keep(found, f"{kind} {name}", _run(f"{kind} {name}", folder, asked.bare))
            _keep(found, "bare", _run("recurrent bare", folder, asked.bare))
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}

    def ratio(other: str, ours: str) -> float:
        pairs = zip(found[other], found[ours], strict=True)
        return statistics.median(one["seconds"] / own["seconds"] for one, own in pairs)

    bare_seconds = [run["seconds"] * sizes["events"] / run["events"] for run in found["bare"]]
    bare = [whole / full["seconds"] for whole, full in zip(bare_seconds, found["recurrent full"], strict=True)]
    benchmarks.support.results.write(
        "nightly-scoring",
        sizes | {"bare_events": int(found["bare"][0]["events"])},
        {
            "night_seconds": seconds["recurrent night"],
            "hybrid_night_seconds": seconds["hybrid night"],
            "customers_per_second": found["recurrent night"][0]["customers"] / seconds["recurrent night"],
            "customers_scored": found["recurrent night"][0]["customers"],
            "peak_memory_bytes": max(run["peak_memory_bytes"] for runs in found.values() for run in runs),
            "night_peak_memory_bytes": max(run["peak_memory_bytes"] for run in found["recurrent night"]),
            "hybrid_night_peak_memory_bytes": max(run["peak_memory_bytes"] for run in found["hybrid night"]),
        },
        {
            "full_recompute": {"seconds": seconds["recurrent full"]},
            "full_recompute_hybrid": {"seconds": seconds["hybrid full"]},
            "bare_predict": {"events_per_second": sizes["events"] / statistics.median(bare_seconds)},
        },
        {
            "full_recompute": ratio("recurrent full", "recurrent night"),
            "full_recompute_hybrid": ratio("hybrid full", "hybrid night"),
            "bare_predict": statistics.median(bare),
        },
    )


def _keep(found: dict[str, list[dict[str, float]]], name: str, run: dict[str, float]) -> None:
    found.setdefault(name, []).append(run)
    print(f"{name}: {run['seconds']:.1f} s, {run['peak_memory_bytes'] / 1e9:.2f} GB", flush=True)


def _run(name: str, folder: Path, bare: float) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks", "nightly-scoring", "--bare", str(bare), "--one", name, str(folder)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def _make(folder: Path, customers: int, events: int, night: int) -> dict[str, int]:
    """The event store of the past and of the night, and the models, trained on a small world of the same kind."""
    learning = folder / "learning"
    _write_store(learning, SAMPLE, SAMPLE * MEAN, 0)
    _train(learning, folder)
    rows = _write_store(folder, customers, events, night)
    return {"customers": customers, "events": rows, "night_events": night, "models_learnt_from_customers": SAMPLE}


def _write_store(folder: Path, customers: int, events: int, night: int) -> int:
    """The event store under `folder`, and a configuration that reads it. Returns the events of the past."""
    from benchmarks.support.nightly_store import write_store
    from pipeline.event_store.store import open_store

    folder.mkdir(exist_ok=True)
    (folder / "events.csv").write_text("who,when,eur,shop\nc,2023-01-01,1.0,a\n", "utf-8")
    (folder / "recur.toml").write_text(TOML, "utf-8")
    return write_store(open_store(_settings(folder)), customers, events, night)


def _train(learning: Path, folder: Path) -> None:
    """Two epochs suffice: what is measured does not depend on how good the weights are."""
    import numpy as np

    from features.examples.merging import together
    from features.examples.request import BuildRequest
    from features.time import microseconds
    from models import model_class
    from pipeline.datasets.duckdb_engine import DuckDB
    from pipeline.event_store.store import open_store

    settings = _settings(learning)
    store, question = open_store(settings), settings.question
    grid = np.array([microseconds(END - days * DAY) for days in (56, 28)])
    request = BuildRequest(grid, question.spec(store.attributes), microseconds(END))
    data = together(DuckDB(settings.state).shards(store.as_of(END), request), question.horizons)
    for kind, name in MODELS.items():
        model = model_class(name)(settings.question.horizons, 5, max_epochs=2, epochs=2)
        model.fit(data, None)
        (folder / kind).mkdir()
        model.save(folder / kind)


def _settings(folder: Path) -> Any:
    from pipeline.config.settings import load_settings

    return load_settings(folder / "recur.toml")


def _one(name: str, folder: Path, bare: float) -> dict[str, float]:
    """One measured run. `before` carries the state to the end of the past and is measured by nobody."""
    from models import model_class
    from models.spec import ModelSpec
    from pipeline.config.sections import Addresses, Paths
    from pipeline.training.registry import Version

    kind, what = name.split()
    settings = _settings(folder)
    model = model_class(MODELS[kind]).load(folder / kind)
    version = Version(1, ModelSpec(MODELS[kind], {}), f"run-{kind}", START, settings.question.digest)
    if what == "bare":
        return _bare(settings, model, folder, bare)
    state = folder / f"state_{kind}"
    place = {"addresses": Addresses(events=str(settings.events)), "paths": Paths(var=str(state))}
    if what == "full":
        place["paths"] = Paths(var=str(folder / "state_anew"))
    settings = settings.model_copy(update=place)
    found = _scored(settings, version, model, END if what == "before" else END + DAY)
    if what == "full":
        shutil.rmtree(folder / "state_anew")
    elif what == "night":  # so that the next one finds yesterday's alone
        for made in (state / "carried").glob(f"*/{(END + DAY).date()}"):
            shutil.rmtree(made)
    return found


def _scored(settings: Any, version: Any, model: Any, cutoff: datetime) -> dict[str, float]:
    from pipeline.runtime.nights import Night
    from pipeline.scoring.inputs import ScoringInputs
    from pipeline.scoring.predict import predict_eligible
    from pipeline.scoring.score_files import write_not_scored, write_scored

    began, night, question = time.monotonic(), Night(cutoff - DAY, cutoff), settings.question
    scored = predict_eligible(ScoringInputs.open(settings), version, model, cutoff)
    write_not_scored(settings.state.not_scored(night), scored, question)
    write_scored(settings.state.scored(night), scored, [None] * len(scored.customers), version, question)
    return {"seconds": time.monotonic() - began, "customers": len(scored.customers), "peak_memory_bytes": _peak()}


def _bare(settings: Any, model: Any, folder: Path, share: float) -> dict[str, float]:
    """The network's own `predict` on batches of histories that are read, encoded and padded beforehand, sorted by
    length as ours are; only `predict_on_batch` is counted, which is `predict` without its loop over the data.
    """
    import numpy as np

    from features.sequences.encoding import StateAtCutoff
    from features.sequences.histories import histories_of, starts_of_runs
    from models.networks.compiled import FORWARD_BATCH, FORWARD_PADDED
    from models.recurrent.batches import HistoryReader, cut_chunks
    from pipeline.event_store.night_events import NightEvents, split_at
    from pipeline.event_store.store import open_store
    from pipeline.runtime.engine import session
    from pipeline.scoring.state_updater import EVENTS_A_SHARD

    store, seconds, events = open_store(settings), 0.0, 0
    spec = settings.question.spec(store.attributes)

    def shards() -> Iterator[Any]:
        with session(settings.state) as connection:
            past = NightEvents(store, spec, END + DAY, connection)
            ends = [None, *past.boundaries(EVENTS_A_SHARD), None]
            for number in range(0, len(ends) - 1, max(round(1 / share), 1)):
                yield split_at(past.between(ends[number], ends[number + 1]), END + DAY)[0]

    for read in shards():
        starts = starts_of_runs(read, "customer_id")
        sequences = histories_of(read, starts, spec).whole()
        last = sequences.event_time[sequences.last_step]
        at = int(np.datetime64((END + DAY).replace(tzinfo=None), "us").astype(np.int64))
        first = sequences.event_time[sequences.offsets[:-1]]
        standing = StateAtCutoff(np.full(len(last), at), first, last, sequences.length)
        reader = HistoryReader(
            cut_chunks(sequences),
            model.encoder.encode(sequences),
            model.context(standing, None),
            None,
            standing.silence_days,
        )
        for network in model.networks:
            for batch in reader.cut(FORWARD_BATCH, FORWARD_PADDED):
                arrays, _ = reader.read(batch)
                given = {name: arrays[name] for name in network.input}
                began = time.monotonic()
                network.predict_on_batch(given)
                seconds += time.monotonic() - began
        events += len(read)
    return {"seconds": seconds, "events": events, "peak_memory_bytes": 0}


def _peak() -> int:
    """The most memory that this process held. What `getrusage` says is no less than its parent held when it began."""
    status = Path("/proc/self/status")
    if status.exists():
        found = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(found.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
