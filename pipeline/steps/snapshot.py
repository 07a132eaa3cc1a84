"""The first step of a training: the examples that all its models share, and the run under which they are compared."""

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from features.aggregates.definitions import definitions
from features.dataset import Dataset
from features.examples.request import BuildRequest
from features.named_types import remarks_on_types
from features.question import Question
from features.spec import FeatureSpec
from features.splits import Split, remarks, rolling_origin
from features.time import instant, microseconds
from models.information_choice import choose_information
from pipeline.config.settings import Settings
from pipeline.datasets.dataset_files import describe_dataset, read_dataset
from pipeline.datasets.engine import open_engine
from pipeline.event_store.store import AsOf, EventStore, open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import ConfigurationError, NothingToDo
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.serving.database import open_predictions
from pipeline.training.snapshot import PARTS, Snapshot, finished_trainings, label_moments, read_meta
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
        events = store.as_of(cutoff)
        spec = _spec(question, store)
        about_types = _about_types(events, question)
        grid, windows = _windows(events, spec, question, settings.evidence.windows)
        tracking = Tracking(settings.mlflow, settings.state)
        if (earlier := read_meta(folder)) is not None:
            tracking.discard(earlier["run_id"])
        shutil.rmtree(folder, ignore_errors=True)
        engine = open_engine(settings.run.engine, settings.spark, settings.state)
        request = BuildRequest(
            cutoffs=np.array([microseconds(moment) for moment in grid]),
            spec=spec,
            labelled_until=microseconds(cutoff),
            label_moments=label_moments(windows),
            only_with_outcome=True,
        )
        engine.write(events, request, folder)
        describe_dataset(folder)
        taken = _taken(folder, question, windows, (*about_types, *remarks(windows, settings.evidence.windows)))
        taken = replace(taken, reads=_reads(taken, settings.run.seed))
        run = tracking.open_run(f"comparison {cutoff.date()}")
        run.tags({"data_docs": settings.state.data_docs_page.as_uri()})
        run.parameters({"seed": settings.run.seed, "models": list(settings.models.names)})
        _log(taken, run, spec)
        run.dataset("test", taken.test_digest, taken.examples["test"], folder)
        taken = replace(taken, run_id=run.run_id)
        taken.write(folder)
        figures["rows_read"] = len(taken.data)
        figures["message"] = "; ".join(taken.remarks) or None
    return {"folder": str(folder), "run_id": taken.run_id, "test_digest": taken.test_digest, **taken.examples}


def _spec(question: Question, store: EventStore) -> FeatureSpec:
    try:
        return store.spec(question)
    except ValueError as error:
        categorical = ", ".join(name for name, kind in store.attributes.items() if kind == "categorical") or "none"
        raise ConfigurationError(f"{error}: categorical attributes here: {categorical}") from None


def _about_types(events: AsOf, question: Question) -> list[str]:
    """Remarks on types that the question names. Raises NothingToDo where those that decide do not occur."""
    if not question.types and not question.exclude_types:
        return []
    try:
        return remarks_on_types(question, events.event_types())
    except ValueError as error:
        raise NothingToDo(f"no training as of {events.moment.date()}: {error}") from None


def _windows(
    events: AsOf, spec: FeatureSpec, question: Question, most_windows: int
) -> tuple[list[datetime], tuple[Split, ...]]:
    """The grid of the examples' cutoffs and its splits. Raises NothingToDo where the history is too short."""
    first = events.first_event(spec)
    if first is None:
        raise NothingToDo("the event store holds no events")
    grid = question.cutoffs(first, events.moment)
    try:
        return grid, rolling_origin(grid, question, most_windows)
    except ValueError as error:
        raise NothingToDo(
            f"no training as of {events.moment.date()}: {error}: as of {question.askable_from(first).date()} or later "
            "it can be asked, or with shorter horizons, gap or active_within"
        ) from None


def _taken(folder: Path, question: Question, windows: tuple[Split, ...], remarks: tuple[str, ...]) -> Snapshot:
    """The snapshot of `folder`. Raises NothingToDo, and removes it, where nobody is eligible in a part."""
    data = read_dataset(folder)
    cutoff = midnight(datetime.fromisoformat(folder.name))
    taken = Snapshot(cutoff, question, windows, remarks, data).measured()
    for part in PARTS:
        if not taken.examples[part]:
            shutil.rmtree(folder)
            cutoffs = getattr(windows[-1], part)
            days = " to ".join(dict.fromkeys(str(cutoffs[place].date()) for place in (0, -1)))
            raise NothingToDo(
                f"no training as of {cutoff.date()}: nobody is eligible at the {part} cutoffs, {days}: "
                f"{_when_somebody_was(data, question)}"
            )
    return taken


def _when_somebody_was(data: Dataset, question: Question) -> str:
    """When a training would find somebody, as far as the examples tell."""
    if not len(data):
        types = f" of the types {', '.join(question.activity)}" if question.activity else ""
        return f"nobody ever is; look at the exclusions and at the activity{types} that the question asks for"
    last = instant(data.cutoff.max())
    return (
        f"the last cutoff with somebody is {last.date()}: train as of {(last + question.reach * DAY).date()} would do"
    )


def _reads(taken: Snapshot, random_state: int) -> dict[str, bool]:
    """What the question says, else what is chosen for all models on the oldest window, before any test."""
    question = taken.question
    decided = {"calendar": question.calendar, "categories": question.categories}
    return choose_information(taken.parts(0), question.primary_index, random_state, decided)


def _log(taken: Snapshot, run: Run, spec: FeatureSpec) -> None:
    """To MLflow's parent run, what was asked and of how many examples."""
    question = taken.question
    run.tags({"cutoff": taken.cutoff.isoformat(), "question_digest": question.digest, "test_digest": taken.test_digest})
    run.parameters({"question": question.model_dump(mode="json"), **taken.reads})
    run.metrics({f"examples_{name}": rows for name, rows in taken.examples.items()})
    run.text(json.dumps(definitions(spec), indent=2), "features.json")
