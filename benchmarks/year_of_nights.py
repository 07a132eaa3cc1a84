"""A year of nights over a source that grows: a file arrives a night, and the night is extracted, validated, loaded,
scored by a conventional champion, published and reviewed. Does the last night cost what the first did?

`--nights N`, `--events N` (a night), `--customers N` set the sizes, `--source sql` takes a table of SQLite instead of
files. Every step is timed alone, in CPU seconds of all threads, which other work on the machine moves less than the
clock. The ratio `last_over_first` is that of all steps of the last ten nights to those of the first ten at which every
step has its full work: before the horizon of the first published night has closed there is nothing to review, which
would count against later nights. `clock_last_over_first` is the same by the clock; `ingest_last_over_first` and
`without_score_last_over_first` leave steps out.
"""

import argparse
import logging
import sqlite3
import statistics
import tempfile
import time
import warnings
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

import benchmarks.support.results
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import midnight
from pipeline.steps import TRAINING, step

INGEST, SERVE = ("extract", "validate", "load"), ("score", "publish", "review")
FIRST, HISTORY_DAYS, COMPARED, HORIZON = date(2023, 1, 1), 120, 10, 14
COLUMNS = """
[source.columns]
event_id = "id"
customer_id = "who"
event_time = "at"
amount = "eur"
[question]
active_within = 42
horizons = [{horizon}]
primary_horizon = {horizon}
[run]
first_night = {first}
[models]
names = ["logistic_regression", "recency"]
"""
FOLDER = '[source]\nkind = "csv"\npath = "events-*.csv"\n'
TABLE = '[source]\nkind = "sql"\ntable = "orders"\nincremental_by = "id"\noverlap = 100\n'


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="year-of-nights")
    options.add_argument("--nights", type=int, default=365, help=f"at least {HORIZON + COMPARED}")
    options.add_argument("--events", type=int, default=2_000)
    options.add_argument("--customers", type=int, default=5_000)
    options.add_argument("--source", choices=("folder", "sql"), default="folder")
    asked = options.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        source = _Growing(Path(scratch), asked.source, asked.events, asked.customers)
        seconds, clock = _nights(source, asked.nights)
    steps = pd.DataFrame(seconds)
    first, last = (part[:COMPARED].sum() for part in (steps[HORIZON:], steps[::-1]))
    apart = [name for name in steps.columns if name != "score"]
    figures = {
        f"{name}_seconds_{when}": float(part[name] / COMPARED)
        for name in steps
        for when, part in (("first", first), ("last", last))
    }
    figures |= {
        "night_seconds_first": float(first.sum() / COMPARED),
        "night_seconds_last": float(last.sum() / COMPARED),
    }
    figures["night_seconds_median"] = statistics.median(steps[1:].sum(axis=1).tolist())
    benchmarks.support.results.write(
        "year-of-nights" if asked.source == "folder" else f"year-of-nights-{asked.source}",
        {
            "nights": asked.nights,
            "events_a_night": asked.events,
            "customers": asked.customers,
            "history_days": HISTORY_DAYS,
        },
        figures,
        {},
        {
            "last_over_first": float(last.sum() / first.sum()),
            "clock_last_over_first": sum(clock[-COMPARED:]) / sum(clock[HORIZON : HORIZON + COMPARED]),
            "without_score_last_over_first": float(last[apart].sum() / first[apart].sum()),
            "ingest_last_over_first": float(last[list(INGEST)].sum() / first[list(INGEST)].sum()),
        },
    )


class _Growing:
    """A source of random purchases that a day is added to at a time."""

    def __init__(self, folder: Path, kind: str, events: int, customers: int) -> None:
        self.folder, self.kind, self.events, self.customers = folder, kind, events, customers
        self.random, self.written = np.random.default_rng(20171204), 0
        if kind == "sql":
            with sqlite3.connect(folder / "shop.db") as connection:
                connection.execute("create table orders (id integer primary key, who text, at text, eur real)")
            connection.close()
        address = '[addresses]\nsource = "sqlite:///shop.db"\n' if kind == "sql" else ""
        text = (TABLE if kind == "sql" else FOLDER) + COLUMNS.format(first=FIRST, horizon=HORIZON) + address
        (folder / "recur.toml").write_text(text)

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder / "recur.toml")

    def add(self, first: date, days: int = 1) -> None:
        """The events of `days` days from `first` on arrive."""
        rows = self.events * days
        moments = np.sort(self.random.integers(0, 86_400 * days, rows))
        frame = pd.DataFrame(
            {
                "id": np.arange(self.written, self.written + rows),
                "who": [f"c{number:07d}" for number in self._customers(rows)],
                "at": (pd.Timestamp(first) + pd.to_timedelta(moments, unit="s")).strftime("%Y-%m-%d %H:%M:%S"),
                "eur": self.random.gamma(2, 10, rows).round(2),
            }
        )
        self.written += rows
        if self.kind == "folder":
            frame.to_csv(self.folder / f"events-{first}.csv", index=False)
            return
        with sqlite3.connect(self.folder / "shop.db") as connection:
            frame.to_sql("orders", connection, if_exists="append", index=False)
        connection.close()

    def _customers(self, rows: int) -> np.ndarray:
        """Some come often and some seldom."""
        return (self.customers * self.random.beta(0.7, 1.5, rows)).astype(int)


def _nights(source: _Growing, nights: int) -> tuple[list[dict[str, float]], list[float]]:
    """The CPU seconds of each step of each night, and the clock's seconds of each night."""
    source.add(FIRST - timedelta(days=HISTORY_DAYS), HISTORY_DAYS)
    found, clock = [], []
    for number in range(nights + 1):
        cutoff = FIRST + timedelta(days=number)
        source.add(cutoff)  # the events after the cutoff close the day before it
        settings, began = source.settings, time.monotonic()
        seconds = {step: _timed(settings, cutoff, step) for step in INGEST}
        if number == 0:
            _train(settings, cutoff)
        seconds |= {step: _timed(settings, cutoff, step) for step in SERVE}
        found.append(seconds)
        clock.append(time.monotonic() - began)
        if number % 20 == 0:
            told = ", ".join(f"{step} {value:.2f}" for step, value in seconds.items())
            print(f"night {number}: {told} s", flush=True)
    return found, clock


def _timed(settings: Settings, cutoff: date, name: str) -> float:
    work = step(name)
    began = time.process_time()
    with suppress(NothingToDo):  # no horizon has closed yet
        work(settings, night_ending_at(settings.events, midnight(cutoff)))
    return time.process_time() - began


def _train(settings: Settings, cutoff: date) -> None:
    for name in TRAINING:
        work = step(name)
        for more in [(model,) for model in settings.models.names] if name == "train" else [()]:
            work(settings, midnight(cutoff), *more)
