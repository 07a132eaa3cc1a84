"""SIGKILL at random instants across a night's work (extract, validate, load, score, publish, with a conventional
champion), then the same night again: the event store, the quarantine and the predictions are those of an uninterrupted
run, and nothing is left over.

`CRASH_KILLS` sets the number of kills (100), `CRASH_SEED` their instants. Every step is hit as often as every other, at
an instant drawn from the time that it takes; what it imports was imported before.
"""

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

STEPS = ("extract", "validate", "load", "score", "publish")
BAD_ROWS = ["bad1,,{day} 10:00:00,5,a", "bad2,cust-001,{day} 11:00:00,much,a"]
NOT_COMPARED = ("logs",)
LIMIT_SECONDS = 120


def main() -> bool:
    kills, seed = int(os.environ.get("CRASH_KILLS", "100")), int(os.environ.get("CRASH_SEED", "20171204"))
    _import_everything()
    instants, began = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        pristine, folder = Path(scratch) / "pristine", Path(scratch) / "night"
        _finish(_start(_make_world, pristine)[0])
        seconds = _uninterrupted(pristine, folder)
        expected = _state(folder)
        print("a night takes " + ", ".join(f"{step} {seconds[step]:.2f} s" for step in STEPS))
        hit: Counter[str] = Counter()
        wrong = []
        for number in range(kills):
            step = STEPS[number % len(STEPS)]
            _restore(pristine, folder)
            after = instants.uniform(0, seconds[step])
            hit[_killed(folder, step, after)] += 1
            process, _ = _start(_work_through_the_night, folder)
            if not _finish(process):
                wrong.append(f"kill {number}, {after:.3f} s into {step}: the night could not be done again")
                continue
            found = _state(folder)
            wrong += [
                f"kill {number}, {after:.3f} s into {step}: {what}"
                for what in sorted(expected.keys() | found.keys())
                if expected.get(what) != found.get(what)
            ]
    print("killed in " + ", ".join(f"{step} {hit[step]}" for step in (*STEPS, "nothing")) + " (too late)")
    print("\n".join(wrong) or "store, quarantine and predictions are those of an uninterrupted night every time")
    print(f"seconds: {time.monotonic() - began:.0f}")
    print(f"disagreements after {kills} kills: {len(wrong)}")
    return not wrong and all(hit[step] for step in STEPS)


def _import_everything() -> None:
    """What the steps import, so that no instant falls into an import. Nothing here starts a thread, since the nights
    are forked from this process.
    """
    for name in (
        "great_expectations.expectations.core.expect_column_max_to_be_between",
        "mlflow",
        "sklearn.linear_model",
        *(f"pipeline.{step}" for step in STEPS),
    ):
        import_module(name)


def _make_world(folder: Path, progress: Connection) -> None:
    """A source with bad rows in the night to come, its history, and a conventional champion."""
    from tests.pipeline.trained_world import FIRST, made_up_events, make_world, run_training

    settings = make_world(folder, made_up_events(customers=300), cutoffs=[FIRST])
    with (folder / "events.csv").open("a", encoding="utf-8") as file:
        file.writelines(row.format(day=FIRST.date()) + "\n" for row in BAD_ROWS)
    run_training(settings, FIRST)
    shutil.rmtree(settings.var / "models", ignore_errors=True)  # the night fetches its champion


def _work_through_the_night(folder: Path, progress: Connection) -> None:
    from pipeline.settings import load_settings
    from pipeline.store.event_store import night_ending_at
    from tests.pipeline.trained_world import NEXT

    settings = load_settings(folder / "recur.toml")
    for step in STEPS:
        progress.send((step, time.monotonic()))
        getattr(import_module(f"pipeline.{step}"), step)(settings, night_ending_at(settings, NEXT))
    progress.send(("nothing", time.monotonic()))


def _uninterrupted(pristine: Path, folder: Path) -> dict[str, float]:
    """Works through the night and gives the seconds of each step."""
    _restore(pristine, folder)
    process, progress = _start(_work_through_the_night, folder)
    marks = [progress.recv() for _ in (*STEPS, "nothing")]
    assert _finish(process)
    return {step: following - began for (step, began), (_, following) in pairwise(marks)}


def _killed(folder: Path, step: str, after: float) -> str:
    """Starts the night, kills it `after` seconds into `step`, and gives the step in which the kill fell."""
    process, progress = _start(_work_through_the_night, folder)
    at = ""
    while at != step:
        at, _ = progress.recv()
    time.sleep(after)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with suppress(EOFError):  # what it had still said before its end
        while progress.poll():
            at, _ = progress.recv()
    return at


def _start(work: object, folder: Path) -> tuple[multiprocessing.Process, Connection]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(work, folder, sender))
    process.start()
    sender.close()
    return process, receiver  # type: ignore[return-value]


def _quietly(work: object, folder: Path, progress: Connection) -> None:
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    assert callable(work)
    work(folder, progress)


def _finish(process: multiprocessing.Process) -> bool:
    process.join(LIMIT_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _restore(pristine: Path, folder: Path) -> None:
    """The same folder, file times included, as before the night."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(pristine, folder)


def _state(folder: Path) -> dict[str, str]:
    """Every file under `var` and, of Parquet files, what it holds; the tables of the predictions without the instants
    at which they were written.
    """
    state = {}
    var = folder / "var"
    for file in sorted(var.rglob("*")):
        place = file.relative_to(var)
        if place.parts[0] in NOT_COMPARED or file.name.startswith(("predictions.db", "mlflow.db")) or file.is_dir():
            continue
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.suffix == ".parquet" else "there"
        state[f"the file {place}"] = content
    with sqlite3.connect(var / "predictions.db") as connection:
        for table in ("prediction", "quarantine", "night"):
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})") if row[1] != "scored_at"]
            rows = connection.execute(f"select {', '.join(columns)} from {table} order by 1, 2, 3").fetchall()
            state[f"the table {table}"] = repr(rows)
    connection.close()
    return state
