"""One night's work (extract, validate, load, score, publish, with a conventional champion) in a process of its own,
over a small world with bad rows, and all that it leaves behind: what the checks of crashes and full disks share.
"""

import hashlib
import logging
import multiprocessing
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import pipeline.steps
from pipeline.cli.upkeep.locations import relocate
from pipeline.steps import NIGHTLY

STEPS = NIGHTLY[:-1]  # nothing is to be reviewed yet
DONE = "nothing"
BAD_ROWS = ["bad1,,{day} 10:00:00,5,a", "bad2,cust-001,{day} 11:00:00,much,a"]
NOT_COMPARED = ("logs", "locks")
LIMIT_SECONDS = 120

Work = Callable[[Path, Connection], None]


def import_everything() -> None:
    """What the steps import, so that no instant falls into an import. Nothing here starts a thread, since the nights
    are forked from this process.
    """
    for name in (
        "great_expectations.expectations.core.expect_column_max_to_be_between",
        "mlflow",
        "sklearn.linear_model",
        *(f"pipeline.steps.{step}" for step in STEPS),
    ):
        import_module(name)


def make_world(folder: Path, progress: Connection) -> None:
    """A source with bad rows in the night to come, its history, and a conventional champion."""
    from tests.support.worlds.trained_world import FIRST, made_up_events, run_training
    from tests.support.worlds.trained_world import make_world as make

    settings = make(folder, made_up_events(customers=300), cutoffs=[FIRST])
    with (folder / "events.csv").open("a", encoding="utf-8") as file:
        file.writelines(row.format(day=FIRST.date()) + "\n" for row in BAD_ROWS)
    run_training(settings, FIRST)
    shutil.rmtree(settings.var / "models", ignore_errors=True)  # the night fetches its champion


def work_through(folder: Path, progress: Connection) -> None:
    """The night, step by step; `progress` is sent each step and the instant at which it begins, and `DONE` last."""
    for step in STEPS:
        progress.send((step, time.monotonic()))
        do(folder, step)
    progress.send((DONE, time.monotonic()))


def do(folder: Path, step: str) -> None:
    from pipeline.config.settings import load_settings
    from pipeline.event_store.store import night_ending_at
    from tests.support.worlds.trained_world import NEXT

    settings = load_settings(folder / "recur.toml")
    pipeline.steps.step(step)(settings, night_ending_at(settings.events, NEXT))


def start(work: Work, folder: Path) -> tuple[multiprocessing.Process, Connection]:
    """A forked process that does `work`, and where it tells of its progress."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(work, folder, sender))
    process.start()
    sender.close()
    return process, receiver  # type: ignore[return-value]


def finish(process: multiprocessing.Process) -> bool:
    """Whether the process ended well, in time."""
    process.join(LIMIT_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def restore(pristine: Path, folder: Path) -> None:
    """The same folder, file times included, as before the night."""
    if folder.exists():
        shutil.rmtree(folder)
    copy_world(pristine, folder)


def state(folder: Path) -> dict[str, str]:
    """Every file under `var` and, of Parquet files, what it holds; the tables of the predictions without the instants
    at which they were written.
    """
    found = {}
    var = folder / "var"
    for file in sorted(var.rglob("*")):
        place = file.relative_to(var)
        if place.parts[0] in NOT_COMPARED or file.name.startswith(("predictions.db", "mlflow.db")) or file.is_dir():
            continue
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.suffix == ".parquet" else "there"
        found[f"the file {place}"] = content
    with sqlite3.connect(var / "predictions.db") as connection:
        for table in ("prediction", "quarantine", "night"):
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})") if row[1] != "scored_at"]
            rows = connection.execute(f"select {', '.join(columns)} from {table} order by 1, 2, 3").fetchall()
            found[f"the table {table}"] = repr(rows)
    connection.close()
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is other than expected, by name."""
    return [what for what in sorted(expected.keys() | found.keys()) if expected.get(what) != found.get(what)]


def _quietly(work: Work, folder: Path, progress: Connection) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    work(folder, progress)


def copy_world(world: Path, folder: Path) -> None:
    """The same files, their times included, in `folder`, which is new: a world that works on its own, since MLflow's
    addresses in it are absolute, and a copy of them is refused.
    """
    shutil.copytree(world, folder)
    relocate(folder / "var" / "mlflow.db", world / "var", folder / "var")
