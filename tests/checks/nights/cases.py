"""The handed-over cases, small exports in the shape of what shops, tills and banks write, each against its right value.

`CASES` names some of them, with commas between. Without the folder `../shared/cases` it skips, and says so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from features.examples.request import BuildRequest
from features.time import microseconds
from pipeline.cli.forget import forget
from pipeline.config.settings import Settings, load_settings
from pipeline.datasets.engine import open_engine
from pipeline.event_store.store import night_ending_at, open_store
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.sources.factory import open_source
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from tests.support.plain_reading import ROOT
from tests.support.stored import rows_of

DATA = ROOT.parent / "shared" / "cases"
FORGOTTEN = "1081"


class Case(NamedTuple):
    """A copy of a case's folder, to work in."""

    folder: Path

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder / "recur.toml")

    def configure(self, old: str, new: str) -> None:
        """Replaces a line of the configuration, as its reader would after the advice."""
        file = self.folder / "recur.toml"
        text = file.read_text("utf-8")
        assert old in text, f"{self.folder.name}: no {old!r} in the configuration"
        file.write_text(text.replace(old, new), "utf-8")

    def replace_source(self, name: str, by: str) -> None:
        """Another dump in the place of the last."""
        shutil.copyfile(self.folder / by, self.folder / name)
        os.utime(self.folder / name)

    def recur(self, *arguments: str) -> tuple[int, str]:
        """The exit status of the command, and all that it prints, in one line."""
        program = [sys.executable, "-m", "pipeline.cli.app", "--config", str(self.folder / "recur.toml")]
        process = subprocess.run([*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return process.returncode, " ".join((process.stdout + process.stderr).split())

    def events(self) -> pd.DataFrame:
        """The events that the whole source makes, its last, open day included."""
        settings = self.settings
        source = open_source(settings)
        night = Night(None, source.span().closed + DAY)
        staged = settings.state.staged(night)
        staged.parent.mkdir(parents=True, exist_ok=True)
        source.extract(night, staged)
        validate(settings, night)
        load(settings, night)
        return self.current(night.end)

    def ingest(self, until: datetime | None = None) -> None:
        """Every night from `run.first_night` to the last closed day or `until`."""
        settings = self.settings
        assert settings.run.first_night is not None
        end = until or open_source(settings).span().closed
        loaded = open_store(settings).nights()
        cutoff = midnight(max(loaded)) + DAY if loaded else midnight(settings.run.first_night)
        while cutoff <= end:
            night = night_ending_at(settings.events, cutoff)
            extract(settings, night)
            validate(settings, night)
            load(settings, night)
            cutoff += DAY

    def current(self, moment: datetime) -> pd.DataFrame:
        rows = rows_of(open_store(self.settings).as_of(moment))
        return rows[rows["superseded_time"].isna() & ~rows["deleted"]]


class Verdict(NamedTuple):
    """Whether a case holds, and what was seen."""

    holds: bool
    words: str


def _totals(rows: int, total: float, days: tuple[str, str] | None = None) -> Callable[[Case], Verdict]:
    """A case of so many events with this sum of amounts, whose first and last days are `days`."""

    def judge(case: Case) -> Verdict:
        events = case.events()
        seen = (len(events), round(events["amount"].sum(), 2))
        span = tuple(f"{day:%Y-%m-%d}" for day in (events["event_time"].min(), events["event_time"].max()))
        holds = seen == (rows, total) and days in (None, span)
        return Verdict(holds, f"{seen[0]:,} events, total {seen[1]:,.2f}, {span[0]} to {span[1]}")

    return judge


def _count(events: int) -> Callable[[Case], Verdict]:
    def judge(case: Case) -> Verdict:
        seen = len(case.events())
        return Verdict(seen == events, f"{seen} events, {events} are right")

    return judge


def _said(command: str, *words: str, status: int | None = None) -> Callable[[Case], Verdict]:
    """A case of which a command says all these words."""

    def judge(case: Case) -> Verdict:
        exit_status, output = case.recur(command)
        missing = [word for word in words if word not in output]
        wrong = status is not None and exit_status != status
        detail = f"without {', '.join(map(repr, missing))}: {output[-600:]}" if missing else "says what it must"
        return Verdict(not missing and not wrong, f"recur {command} exits with {exit_status}, {detail}")

    return judge


def _dots_for_thousands(case: Case) -> Verdict:
    said = _said("check", "source.decimal", status=1)(case)
    case.configure("[source.columns]", 'decimal = ","\n\n[source.columns]')
    total = _totals(2_064, 1_287_298.00)(case)
    return Verdict(said.holds and total.holds, f"{said.words}; {total.words}")


def _no_amount(case: Case) -> Verdict:
    status, output = case.recur("run")
    if status:
        return Verdict(False, output[-300:])
    counts = "select count(*), count(expected_purchases), count(expected_spend) from churn_predictions"
    _, printed = case.recur("query", counts, "--format", "csv")
    rows, purchases, spend = map(int, printed.split()[-1].split(","))
    return Verdict(rows > 0 and not purchases and not spend, f"{rows} customers scored, {purchases} and {spend} values")


def _ids_as_floats(case: Case) -> Verdict:
    customers = case.events()["customer_id"].nunique()
    if customers == 100:
        return Verdict(True, "100 customers")
    said = _said("check", "strip_zeros")(case)
    return Verdict(said.holds, f"{customers} customers; {said.words}")


def _guests(case: Case) -> Verdict:
    said = _said("check", "customer_id", "nobody")(case)
    if not said.holds:
        return said
    case.configure('path = "orders.csv"', 'path = "orders.csv"\nnobody = ["0"]')
    events = len(case.events())
    return Verdict(events == 3_047 - 1_063, f"{said.words}; {events} events of somebody")


def _restated(case: Case) -> Verdict:
    case.ingest(midnight(case.settings.run.first_night))
    case.replace_source("orders.csv", by="orders_later.csv")
    status, output = case.recur("ingest")
    words = ("came again", "event_id")
    return Verdict(not status and all(word in output for word in words), f"recur ingest says: {output[:600]}")


def _forgotten(case: Case) -> Verdict:
    case.ingest(midnight(case.settings.run.first_night))
    forget(case.settings, FORGOTTEN)
    os.utime(case.folder / "orders.csv")
    case.ingest()
    rows = rows_of(open_store(case.settings).as_of(open_source(case.settings).span().closed))
    back = int(rows["customer_id"].eq(FORGOTTEN).sum())
    return Verdict(not back, f"{back} events of the forgotten customer")


def _merged(case: Case) -> Verdict:
    settings = case.settings
    case.ingest(midnight(settings.run.first_night))
    case.replace_source("events.csv", by="events_later.csv")
    case.ingest()
    end = open_source(settings).span().closed
    store = open_store(settings)
    customers = set(case.current(end)["customer_id"])
    cutoffs = [end - DAY * (days + settings.question.primary) for days in range(0, 60, 7)]
    moments = np.array(sorted(map(microseconds, cutoffs)))
    request = BuildRequest(moments, store.spec(settings.question), microseconds(end), only_with_outcome=True)
    engine = open_engine(settings.run.engine, settings.spark, settings.state)
    labelled = [name for shard in engine.shards(store.as_of(end), request) for name in shard.customer_id.to_pylist()]
    gone = sum(customer not in customers for customer in labelled)
    return Verdict(not gone, f"{gone} of {len(labelled)} labelled examples are of customers who never existed")


def _shopify(case: Case) -> Verdict:
    said = _said("check", "fold_case")(case)
    case.configure('rows_are = "lines"', 'rows_are = "lines"\nfold_case = true')
    events = case.events()
    seen = (len(events), round(events["amount"].sum(), 2), events["customer_id"].nunique())
    return Verdict(said.holds and seen == (428, 13_411.12, 110), f"{seen}; {said.words}")


def _square(case: Case) -> Verdict:
    case.configure('event_time = "Date"', 'event_time = ["Date", "Time"]')
    events = case.events()
    seen = (len(events), round(events["amount"].sum(), 2), f"{events['event_time'].min():%Y-%m-%d %H:%M:%S}")
    return Verdict(seen[:2] == (136, 4_471.66), f"{seen}")


RIGHT: dict[str, Callable[[Case], Verdict]] = {
    "dates_two_digit_month_name": _totals(2_064, 64_364.86, ("2024-09-01", "2025-04-28")),
    "dates_two_digit_us": _totals(2_064, 64_364.86, ("2024-09-01", "2025-04-28")),
    "forgotten_then_sent_again": _forgotten,
    "guests_as_zero": _guests,
    "ids_as_floats_in_some_files": _ids_as_floats,
    "merged_identities": _merged,
    "no_amount": _no_amount,
    "numbers_decimal_comma": _totals(2_064, 1_287_297.20),
    "numbers_dots_for_thousands": _dots_for_thousands,
    "numbers_euro": _totals(2_064, 1_287_297.20),
    "numbers_thousands_rare": _totals(2_064, 772_378.32),
    "overlapping_files_with_id": _count(396),
    "overlapping_files_without_id": _count(396),
    "restated_without_id": _restated,
    "shopify_orders": _shopify,
    "square_items": _square,
    "two_weeks": _said("run", "can be asked", status=1),
    "types_that_never_occur": _said("run", "'cancelled'", "payment", status=1),
}


def main() -> bool:
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there, and the project does not ship it")
        return True
    folders = sorted(folder.name for folder in DATA.iterdir() if folder.is_dir())
    names = os.environ["CASES"].split(",") if "CASES" in os.environ else folders
    short = []
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            case = Case(Path(scratch) / name)
            shutil.copytree(DATA / name, case.folder, copy_function=shutil.copyfile)
            verdict = _judged(name, case)
        print(f"{'holds' if verdict.holds else 'SHORT'} {name}: {verdict.words}", flush=True)
        short += [] if verdict.holds else [name]
    print(f"cases that fall short: {len(short)} of {len(names)}")
    return not short


def _judged(name: str, case: Case) -> Verdict:
    if name not in RIGHT:
        return Verdict(False, "no right value is written down for it")
    try:
        return RIGHT[name](case)
    except RecurError as error:
        return Verdict(False, f"refused: {error}")
