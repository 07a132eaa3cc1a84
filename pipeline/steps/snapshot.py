"""The first step of a training: the examples that all its models share, and the run under which they are compared."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis.expr.types as ir
import numpy as np

from features.aggregates.definitions import definitions, named
from features.build import build_dataset
from features.dataset import Dataset
from features.examples import included
from features.question import Question
from features.splits import remarks, rolling_origin
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.engine import connect
from pipeline.runtime.errors import ConfigurationError, NothingToDo
from pipeline.runtime.nights import DAY, Night
from pipeline.serving.database import open_predictions
from pipeline.sources.contract import Kind
from pipeline.training.snapshot import EPOCH, PARTS, Snapshot, finished_trainings, read_meta
from pipeline.training.tracking import Run, Tracking


def snapshot(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Build and store the labelled examples of every cutoff on the grid as of `cutoff`, and open the parent run.

    Features use what was known at each grid cutoff, labels what was known at `cutoff`. Raises NothingToDo where this
    question is already trained at `cutoff` or the history is too short, RecurError where the night is not loaded.
    """
    folder, question = settings.state.snapshot(cutoff), settings.question
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "snapshot", Night(None, cutoff)) as figures:
        if cutoff in finished_trainings(settings.state, question.digest):
            raise NothingToDo(f"already trained as of {cutoff.date()}: remove {folder} to train once more")
        store = open_store(settings)
        store.require_loaded(cutoff)
        backend = connect(settings)
        taken = _take(store.as_of(backend, cutoff), store.attributes, question, cutoff, settings.evidence.windows)
        backend.disconnect()
        tracking = Tracking(settings.mlflow, settings.state)
        if (earlier := read_meta(folder)) is not None:
            tracking.discard(earlier["run_id"])
        shutil.rmtree(folder, ignore_errors=True)
        run = tracking.open_run(f"comparison {cutoff.date()}")
        run.tags({"data_docs": settings.state.data_docs_page.as_uri()})
        run.parameters({"seed": settings.run.seed, "models": list(settings.models.names)})
        _log(taken, run, store.attributes)
        run.dataset("test", taken.test_digest, taken.examples["test"], folder)
        taken = replace(taken, run_id=run.run_id)
        taken.write(folder)
        figures["rows_read"] = len(taken.data)
        figures["message"] = "; ".join(taken.remarks) or None
    return {"folder": str(folder), "run_id": taken.run_id, "test_digest": taken.test_digest, **taken.examples}


def _take(
    events: ir.Table, attributes: dict[str, Kind], question: Question, cutoff: datetime, most_windows: int
) -> Snapshot:
    """The snapshot as of `cutoff`, as which `events` are read. Raises NothingToDo where the history is too short or
    nobody is eligible in a part.
    """
    try:
        first = _first_event(included(events, question))
    except ValueError as error:
        categorical = ", ".join(name for name, kind in attributes.items() if kind == "categorical") or "none"
        raise ConfigurationError(f"{error}: categorical attributes here: {categorical}") from None
    grid = question.cutoffs(first, cutoff)
    try:
        windows = rolling_origin(grid, question, most_windows)
    except ValueError as error:
        raise NothingToDo(
            f"no training as of {cutoff.date()}: {error}: as of {question.askable_from(first).date()} or later it "
            "can be asked, or with shorter horizons, gap or active_within"
        ) from None
    data = _with_outcome(build_dataset(events, grid, question, attributes, cutoff), question)
    taken = Snapshot(cutoff, question, windows, tuple(remarks(windows, most_windows)), data).measured()
    for part in PARTS:
        if not taken.examples[part]:
            cutoffs = getattr(windows[-1], part)
            days = " to ".join(dict.fromkeys(str(cutoffs[place].date()) for place in (0, -1)))
            raise NothingToDo(
                f"no training as of {cutoff.date()}: nobody is eligible at the {part} cutoffs, {days}: "
                f"{_when_somebody_was(data, question)}"
            )
    return taken


def _first_event(events: ir.Table) -> datetime:
    first = events.filter(~events.deleted).event_time.min().to_pyarrow().as_py()
    if first is None:
        raise NothingToDo("the event store holds no events")
    moment: datetime = first
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _with_outcome(data: Dataset, question: Question) -> Dataset:
    """`data` without who ended within the gap: they are scored like others, but no horizon of theirs has an outcome."""
    assert data.labels is not None
    churn = data.labels.churn[:, question.primary_index]
    return data.select(np.isfinite(churn)) if question.ends_with and question.gap else data


def _when_somebody_was(data: Dataset, question: Question) -> str:
    """When a training would find somebody, as far as the examples tell."""
    if not len(data):
        types = f" of the types {', '.join(question.activity)}" if question.activity else ""
        return f"nobody ever is; look at the exclusions and at the activity{types} that the question asks for"
    last = EPOCH + timedelta(microseconds=int(data.cutoff.max()))
    return (
        f"the last cutoff with somebody is {last.date()}: train as of {(last + question.reach * DAY).date()} would do"
    )


def _log(taken: Snapshot, run: Run, attributes: dict[str, Kind]) -> None:
    """To MLflow's parent run, what was asked and of how many examples."""
    question = taken.question
    run.tags(
        {
            "cutoff": taken.cutoff.isoformat(),
            "question_digest": question.digest,
            "test_digest": taken.test_digest,
        }
    )
    run.parameters({"question": question.model_dump(mode="json")})
    run.metrics({f"examples_{name}": rows for name, rows in taken.examples.items()})
    words = definitions(named(attributes, "numeric"), named(attributes, "categorical"), question)
    run.text(json.dumps(words, indent=2), "features.json")
