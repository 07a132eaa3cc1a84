"""`recur check`: what is wrong with the configuration, the connections and the permissions, and how to fix it."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import delete

from features.question import Question
from pipeline.cli.feasibility import source_checks
from pipeline.config.sections import Run
from pipeline.config.settings import Settings
from pipeline.datasets.engine import open_engine
from pipeline.event_store.objects import loaded_nights
from pipeline.event_store.store import open_store
from pipeline.monitoring.published import require_published_within
from pipeline.runtime.errors import RecurError
from pipeline.scoring.champion import champion_or_none
from pipeline.serving import tables
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.sources.contract import EventSource, Span
from pipeline.sources.factory import first_night, open_source
from pipeline.training.leak_probes import probes
from pipeline.training.registry import Registry, open_registry
from pipeline.training.tracking import without_password
from pipeline.validation.leaks import CheckResult
from pipeline.validation.leaks import leaks as look_for_leaks

LEAST_FREE_BYTES = 2 * 1024**3
SHOWN = {"right": "ok   ", "doubtful": "look ", "wrong": "WRONG"}
STYLES = {"right": "", "doubtful": "yellow", "wrong": "bold red"}


def check(settings: Settings, leaks: bool = False, published_within: float | None = None) -> list[CheckResult]:
    """The result of every check, in order. A check that fails does not stop those after it. `published_within` is the
    hours within which a night must have been published.
    """
    checks: dict[str, Callable[[], str]] = {
        "configuration": lambda: _configuration(settings.file, settings.question),
        "local state": lambda: _local_state(settings.var),
        "source": lambda: _source(settings.source.kind, open_source(settings)),
        "nights": lambda: _nights(open_source(settings).span(), settings.run, settings.question),
        "event store": lambda: _event_store(settings.events),
        "engine": lambda: open_engine(settings.run.engine, settings.spark, settings.state).name,
        "predictions": lambda: _predictions(open_predictions(settings.predictions, settings.root)),
        "models": lambda: ", ".join(settings.models.names),
        "mlflow": lambda: _mlflow(open_registry(settings), open_predictions(settings.predictions, settings.root)),
    }
    if published_within is not None:
        predictions = open_predictions(settings.predictions, settings.root)
        checks["published"] = partial(require_published_within, predictions, published_within)
    results: list[CheckResult] = []
    for what, run in checks.items():
        if what == "nights" and any(each.what == "source" and each.state == "wrong" for each in results):
            continue  # for the same reason
        results.append(_result(what, run))
        if what == "source" and results[-1].state == "right":
            try:
                results += source_checks(settings, open_source(settings))
            except RecurError as error:
                results.append(CheckResult("wrong", what, str(error)))
    if leaks:
        try:
            results += look_for_leaks(open_store(settings), settings.state)
            results += probes(settings)
        except RecurError as error:
            results.append(CheckResult("wrong", "leaks", str(error)))
    return results


def print_results(console: Console, results: list[CheckResult]) -> None:
    """A line or more for each, and a last one that counts."""
    print_lines(console, results)
    counts = {state: sum(result.state == state for result in results) for state in SHOWN}
    console.print(f"{counts['right']} right, {counts['doubtful']} to look at, {counts['wrong']} wrong")


def print_lines(console: Console, results: list[CheckResult]) -> None:
    """A line or more for each."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for result in results:
        state = Text(SHOWN[result.state], style=STYLES[result.state])
        grid.add_row(state, Text(result.what), Text(result.words, overflow="fold"))
    console.print(grid)


def _result(what: str, run: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult("right", what, run())
    except RecurError as error:
        return CheckResult("wrong", what, str(error))
    except OSError as error:
        words = f"{error.filename}: {error.strerror}: make it readable and writable for this user"
        return CheckResult("wrong", what, words)


def _configuration(file: Path | None, question: Question) -> str:
    horizons = ", ".join(str(days) for days in question.horizons)
    return (
        f"{file or 'the defaults'}; churn within {horizons} days, asked of those active within {question.active_within}"
    )


def _local_state(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RecurError(f"{folder} cannot be written to: set paths.var to a folder of your own")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise RecurError(f"{folder} has {free / 1024**3:.1f} GiB free, too little for a run: make room for 2 GiB")
    return f"{folder} can be written to, {free / 1024**3:.0f} GiB free"


def _source(kind: str, source: EventSource) -> str:
    first, end = source.span()
    attributes = ", ".join(source.attributes()) or "none"
    return f"{kind}, {first:%Y-%m-%d} to {end:%Y-%m-%d}; attributes: {attributes}"


def _nights(span: Span, run: Run, question: Question) -> str:
    first, last = first_night(span, run, question), span.closed
    return f"first {first:%Y-%m-%d}, last closed {last:%Y-%m-%d}: {(last - first).days + 1} nights"


def _event_store(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RecurError(f"{folder} cannot be written to: check addresses.events and the folder's permissions")
    nights = loaded_nights(folder)
    return f"{folder}: " + (f"{len(nights)} nights, the last {max(nights)}" if nights else "no night yet")


def _predictions(predictions: PredictionsStore) -> str:
    with predictions.writing() as connection:  # taking the lock and matching no row writes nothing
        connection.execute(delete(tables.quarantine).where(tables.quarantine.c.reason.is_(None)))
    nights = predictions.published_nights()
    published = f"{len(nights)} nights published, the last {nights[-1]}" if nights else "nothing published yet"
    return f"{predictions}: {published}"


def _mlflow(registry: Registry, predictions: PredictionsStore) -> str:
    champion = champion_or_none(registry, predictions)
    return f"{without_password(registry.tracking.address)}: {champion.label if champion else 'no champion yet'}"
