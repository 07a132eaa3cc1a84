"""`recur check`: what is wrong with the configuration, the connections and the permissions, and how to mend it."""

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.cli.check_result import Finding
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError

if TYPE_CHECKING:
    from rich.console import Console

LEAST_FREE_BYTES = 2 * 1024**3
SHOWN = {"right": "ok   ", "doubtful": "look ", "wrong": "WRONG"}


def check(settings: Settings, leaks: bool = False) -> list[Finding]:
    """Everything that was looked at, in order. A check that fails does not stop those after it."""
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("configuration", _configuration),
        ("local state", _local_state),
        ("source", _source),
        ("nights", _nights),
        ("event store", _event_store),
        ("engine", _engine),
        ("predictions", _predictions),
        ("models", _models),
        ("mlflow", _mlflow),
    ]
    findings = [_one(settings, what, look) for what, look in checks]
    if leaks:
        from pipeline.training.leak_probes import probes
        from pipeline.validation.leaks import leaks as look_for_leaks

        try:
            findings += look_for_leaks(settings)
            findings += probes(settings)
        except RecurError as error:
            findings.append(Finding("wrong", "leaks", str(error)))
    return findings


def print_findings(screen: "Console", findings: list[Finding]) -> None:
    """A line or more for each, and a last one that counts."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        style = {"right": "", "doubtful": "yellow", "wrong": "bold red"}[finding.state]
        grid.add_row(Text(SHOWN[finding.state], style=style), Text(finding.what), Text(finding.words, overflow="fold"))
    screen.print(grid)
    counts = {state: sum(finding.state == state for finding in findings) for state in SHOWN}
    screen.print(f"{counts['right']} right, {counts['doubtful']} to look at, {counts['wrong']} wrong")


def _one(settings: Settings, what: str, look: Callable[[Settings], str]) -> Finding:
    try:
        return Finding("right", what, look(settings))
    except RecurError as error:
        return Finding("wrong", what, str(error))
    except OSError as error:
        return Finding(
            "wrong", what, f"{error.filename}: {error.strerror}: make it readable and writable for this user"
        )


def _configuration(settings: Settings) -> str:
    question = settings.question
    horizons = ", ".join(str(days) for days in question.horizons)
    of_file = str(settings.file) if settings.file else "the defaults"
    return f"{of_file}; churn within {horizons} days, asked of those active within {question.active_within}"


def _local_state(settings: Settings) -> str:
    settings.var.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.var, os.W_OK | os.X_OK):
        raise RecurError(f"{settings.var} cannot be written to: set paths.var to a folder of your own")
    free = shutil.disk_usage(settings.var).free
    if free < LEAST_FREE_BYTES:
        raise RecurError(f"{settings.var} has {free / 1024**3:.1f} GiB free, too little for a run: make room for 2 GiB")
    return f"{settings.var} can be written to, {free / 1024**3:.0f} GiB free"


def _source(settings: Settings) -> str:
    from pipeline.sources.factory import open_source

    source = open_source(settings)
    first, end = source.span()
    attributes = ", ".join(source.attributes()) or "none"
    return f"{settings.source.kind}, {first:%Y-%m-%d} to {end:%Y-%m-%d}; attributes: {attributes}"


def _nights(settings: Settings) -> str:
    from pipeline.sources.factory import first_night, open_source

    span = open_source(settings).span()
    first, last = first_night(span, settings.run, settings.question), span.closed
    return f"first {first:%Y-%m-%d}, last closed {last:%Y-%m-%d}: {(last - first).days + 1} nights"


def _event_store(settings: Settings) -> str:
    from pipeline.event_store.store import open_store

    settings.events.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.events, os.W_OK | os.X_OK):
        raise RecurError(f"{settings.events} cannot be written to: check addresses.events and the folder's permissions")
    nights = open_store(settings).nights()
    held = f"{len(nights)} nights, the last {max(nights)}" if nights else "no night yet"
    return f"{settings.events}: {held}"


def _engine(settings: Settings) -> str:
    from pipeline.runtime.engine import connect

    backend = connect(settings)
    try:
        return f"{settings.run.engine} {backend.version}" + (
            f" at {settings.spark}" if settings.run.engine == "spark" else ""
        )
    finally:
        backend.disconnect()


def _predictions(settings: Settings) -> str:
    from sqlalchemy import delete

    from pipeline.serving import tables
    from pipeline.serving.database import open_predictions

    predictions = open_predictions(settings.predictions, settings.root)
    with predictions.writing() as connection:  # taking the lock and matching no row writes nothing
        connection.execute(delete(tables.quarantine).where(tables.quarantine.c.reason.is_(None)))
    nights = predictions.published_nights()
    held = f"{len(nights)} nights published, the last {nights[-1]}" if nights else "nothing published yet"
    return f"{predictions}: {held}"


def _models(settings: Settings) -> str:
    from models import MODELS

    if unknown := sorted(set(settings.models.names) - set(MODELS)):
        raise RecurError(
            f"models.names has {', '.join(unknown)}, which recur does not know; it knows {', '.join(MODELS)}"
        )
    return ", ".join(settings.models.names)


def _mlflow(settings: Settings) -> str:
    from pipeline.training.registry import open_registry
    from pipeline.training.tracking import without_password

    champion = open_registry(settings).champion()
    reigning = champion.label if champion else "no champion yet"
    return f"{without_password(settings.mlflow)}: {reigning}"
