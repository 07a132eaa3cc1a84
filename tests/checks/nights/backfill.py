"""Airflow's own backfill of past nights, by a real scheduler: the event store's partitions are, byte for byte, those of
the nights themselves; so they are when a night is backfilled again after its source has changed, and when two processes
work through the same nights at once.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipeline.cli.services import up
from pipeline.cli.services.processes import READY_SECONDS, Supervisor
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.airflow import environment
from pipeline.runtime.nights import DAY
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from tests.support.worlds.trained_world import FIRST, made_up_events, make_world

NIGHTS = 3
CUTOFFS = [FIRST + number * DAY for number in range(NIGHTS)]
LIMIT_SECONDS = 1200
LATE = "late,c001,2020-07-30 10:00:00,5,a\n"


def main() -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        world = Path(scratch)
        themselves = _world(world / "themselves")
        for cutoff in CUTOFFS:
            night = night_ending_at(themselves.events, cutoff)
            for step in (extract, validate, load):
                step(themselves, night)
        expected = _objects(themselves)
        wrong = [] if len(expected) == NIGHTS else [f"{len(expected)} nights were loaded, expected {NIGHTS}"]

        backfilled = _world(world / "backfilled")
        with _airflow(backfilled):
            _backfill(backfilled, CUTOFFS[0], CUTOFFS[-1], NIGHTS)
            wrong += _differences("the backfill", expected, _objects(backfilled))
            with (world / "backfilled" / "events.csv").open("a", encoding="utf-8") as file:
                file.write(LATE)
            before = {file: file.stat().st_mtime_ns for file in backfilled.events.iterdir()}
            _backfill(backfilled, CUTOFFS[1], CUTOFFS[1], NIGHTS + 1)
            wrong += _differences("the second backfill", expected, _objects(backfilled))
            if before == {file: file.stat().st_mtime_ns for file in backfilled.events.iterdir()}:
                wrong.append("the second backfill loaded nothing")

        at_once = _world(world / "at_once")
        program = [sys.executable, "-m", "pipeline.cli.app", "--config", str(at_once.file), "ingest"]
        both = [
            subprocess.Popen([*program, "--until", CUTOFFS[-1].date().isoformat()], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        errors = [process.communicate()[1] for process in both]
        if all(process.returncode for process in both):
            wrong.append(f"of two processes at once neither ended well: {errors}")
        wrong += _differences("two processes at once", expected, _objects(at_once))
    print(
        "\n".join(wrong)
        or f"{NIGHTS} nights: backfilled, backfilled again and by two processes at once, the same bytes"
    )
    print(f"disagreements: {len(wrong)}")
    return not wrong


def _world(folder: Path) -> Settings:
    """The same source, with no night loaded; the first night is the first of `CUTOFFS`."""
    settings = make_world(folder, made_up_events(), cutoffs=[])
    file = folder / "recur.toml"
    file.write_text(file.read_text("utf-8") + f"\n[run]\nfirst_night = {FIRST.date()}\n", "utf-8")
    shutil.rmtree(settings.var, ignore_errors=True)
    return load_settings(file)


def _objects(settings: Settings) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(settings.events.glob("*.parquet"))}


def _differences(what: str, expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    return [
        f"{what}: {name} is {'not the same' if name in found else 'missing'}"
        for name in expected
        if expected[name] != found.get(name)
    ] + [f"{what}: {name} should not be there" for name in found.keys() - expected.keys()]


@contextmanager
def _airflow(settings: Settings) -> Iterator[None]:
    """Airflow's API server, scheduler and DAG processor, as `make up` starts them."""
    logs = settings.var / "logs"
    logs.mkdir(parents=True)
    up._prepare_airflow(settings.state, settings.file)
    ports = {name: up._port(name, 0, None) for name in up.PORTS}
    services = [one for one in up._services(settings, ports) if one.name in ("airflow", "scheduler", "dag-processor")]
    supervisor = Supervisor(services, logs, settings.var, print)
    os.environ.update(environment(settings.state, settings.file, ports["airflow"]))
    try:
        supervisor.start()
        yield
    finally:
        supervisor.stop()


def _backfill(settings: Settings, first: datetime, last: datetime, runs: int) -> None:
    """`airflow backfill create` over the nights that end at `first` to `last`, until `runs` nights in all were
    loaded. The logical date of a run is its interval's start.
    """
    dates = ["--from-date", f"{first - DAY:%Y-%m-%d}", "--to-date", f"{last - DAY:%Y-%m-%d}"]
    command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", "nightly_predictions", *dates]
    command += ["--max-active-runs", "1", "--reprocess-behavior", "completed"]
    began = time.monotonic()
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        # The DAG processor has not yet come to the DAG, or the backfill before this is still at its last scores.
        limit = LIMIT_SECONDS if "AlreadyRunningBackfill" in done.stderr else READY_SECONDS
        if time.monotonic() - began > limit:
            raise AssertionError(f"airflow backfill create failed: {done.stderr[-1000:]}")
        time.sleep(2)
    while time.monotonic() - began < LIMIT_SECONDS:
        # What follows a load does not touch the event store.
        if (ended := _loads(settings)).count("done") >= runs:
            return
        if "failed" in ended:
            raise AssertionError(f"a backfilled night could not be loaded: see {settings.var / 'logs' / 'airflow'}")
        time.sleep(2)
    raise AssertionError(f"the backfill did not end within {LIMIT_SECONDS} s: {_loads(settings)}")


def _loads(settings: Settings) -> list[str]:
    """How each extract, validate and load that failed, and each load, ended, by the pipeline's own account."""
    file = settings.var / "predictions.db"
    if not file.exists():
        return []
    ended = "step = 'load' or (step in ('extract', 'validate') and status = 'failed')"
    with sqlite3.connect(file, timeout=30) as connection:
        rows = connection.execute(f"select status from step_run where {ended}").fetchall()
    connection.close()
    return [str(status) for (status,) in rows]
