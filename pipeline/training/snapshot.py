"""The first step of a training: whether one is due, and the examples that all its models share, with their digest."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.aggregates.definitions import definitions, named
from features.build import build_dataset
from features.dataset import MICROSECONDS_A_DAY, Dataset
from features.examples import included
from features.question import Question
from features.splits import remarks, rolling_origin
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.engine import connect
from pipeline.runtime.errors import ConfigurationError, NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.serving.database import open_predictions
from pipeline.sources.contract import Kind
from pipeline.training import tracking
from pipeline.training.dataset_files import read_dataset, without_customer, write_dataset
from pipeline.validation.expectations import index_page

META, OUTCOME = "meta.json", "promotion.json"
SLICES = ("train", "valid", "calibrate", "test")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def snapshot(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Build and store the labelled examples of every cutoff on the grid as of `cutoff`, and open the parent run.

    Features use what was known at each grid cutoff, labels what was known at `cutoff`. Raises NothingToDo where this
    question is already trained at `cutoff` or the history is too short, RecurError where the night is not loaded.
    """
    folder = settings.state.snapshot(cutoff)
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "snapshot", Night(None, cutoff)) as figures:
        if cutoff in finished_trainings(settings.state, settings.question.digest):
            raise NothingToDo(f"already trained as of {cutoff.date()}: remove {folder} to train once more")
        store = open_store(settings)
        store.require_loaded(cutoff)
        backend = connect(settings)
        events = store.as_of(backend, cutoff)
        question = settings.question
        try:
            first = _first_event(included(events, question))
        except ValueError as error:
            known = ", ".join(name for name, kind in store.attributes.items() if kind == "categorical") or "none"
            raise ConfigurationError(f"{error}: categorical attributes here: {known}") from None
        grid = question.cutoffs(first, cutoff)
        try:
            windows = rolling_origin(grid, question, settings.evidence.windows)
        except ValueError as error:
            raise NothingToDo(
                f"no training as of {cutoff.date()}: {error}: as of {question.askable_from(first).date()} or later it "
                "can be asked, or with shorter horizons, gap or active_within"
            ) from None
        data = build_dataset(events, grid, question, store.attributes, cutoff)
        backend.disconnect()
        data = _with_outcome(data, question)
        meta: dict[str, Any] = {
            "cutoff": cutoff.isoformat(),
            "question": settings.question.model_dump(mode="json"),
            "question_digest": settings.question.digest,
            "windows": [
                {name: [moment.isoformat() for moment in getattr(window, name)] for name in SLICES}
                for window in windows
            ],
            "remarks": remarks(windows, settings.evidence.windows),
        }
        for number, slices in enumerate(meta["windows"]):
            slices["churn"] = {name: _churn(settings, slice_of(data, meta, name, number)) for name in SLICES}
        test = test_of(data, meta)
        meta["test_digest"] = digest(test)
        meta["examples"] = {name: len(slice_of(data, meta, name)) for name in SLICES} | {"all": len(data)}
        meta["examples"]["test"] = len(test)
        for name in SLICES:
            if not meta["examples"][name]:
                moments = " to ".join(dict.fromkeys(meta["windows"][-1][name][place][:10] for place in (0, -1)))
                raise NothingToDo(
                    f"no training as of {cutoff.date()}: nobody is eligible at the {name} cutoffs, {moments}: "
                    f"{_when_somebody_was(data, question)}"
                )
        _discard(settings, folder)
        meta["run_id"] = _open_parent(settings, cutoff, meta, folder, store.attributes)
        write_dataset(folder, data)
        _write_json(folder / META, meta)
        figures["rows_read"] = len(data)
        figures["message"] = "; ".join(meta["remarks"]) or None
    return {"folder": str(folder), "run_id": meta["run_id"], "test_digest": meta["test_digest"], **meta["examples"]}


def read_snapshot(settings: Settings, cutoff: datetime) -> tuple[Dataset, dict[str, Any]]:
    """The examples and their meta data. Raises RecurError where there is no snapshot of this question at `cutoff`."""
    meta = read_meta(settings, cutoff)
    return read_dataset(settings.state.snapshot(cutoff)), meta


def read_meta(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """The meta data alone. Raises RecurError where there is no snapshot of this question at `cutoff`."""
    file = settings.state.snapshot(cutoff) / META
    if not file.exists():
        raise RecurError(f"there is no snapshot as of {cutoff.date()} in {file.parent}: run `recur train` for it")
    meta: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if meta["question_digest"] != settings.question.digest:
        raise RecurError(
            f"the snapshot in {file.parent} is of another question ({meta['question_digest']}): run `recur train` anew"
        )
    return meta


def slice_of(data: Dataset, meta: dict[str, Any], name: str, window: int = -1) -> Dataset:
    """The examples of one slice (of SLICES) of a window, by default the latest, as far as their outcome was known when
    the next slice begins.

    The split keeps the primary horizon out of the next slice; a longer horizon that reaches into it loses its labels.
    """
    slices = meta["windows"][window]
    # Where calibration is the latest part of validation, both are followed by the test.
    later = [slices[other][0] for other in SLICES if slices[other][0] > slices[name][-1]]
    part = _at(data, slices[name])
    return known_by(part, datetime.fromisoformat(later[0]), meta["question"]["gap"]) if later else part


def seen_in_training(data: Dataset, meta: dict[str, Any], name: str, window: int = -1) -> np.ndarray:
    """Whether the customer of each example of a slice is in the training slice of its window, in their order."""
    asked, trained = (_at(data, meta["windows"][window][part]).customer_id for part in (name, "train"))
    found: np.ndarray = pd.Index(asked).isin(trained)
    return found


def test_of(data: Dataset, meta: dict[str, Any]) -> Dataset:
    """The test examples of all windows, oldest first."""
    return _at(data, [moment for slices in meta["windows"] for moment in slices["test"]])


def known_by(data: Dataset, moment: datetime, gap: int = 0) -> Dataset:
    """`data` with the labels that were known at `moment`, where `gap` days lie between cutoffs and horizons."""
    assert data.labels is not None
    opens = data.cutoff + gap * MICROSECONDS_A_DAY
    ends = opens[:, None] + np.array(data.horizons, np.int64) * MICROSECONDS_A_DAY
    return replace(data, labels=data.labels.known_by(ends, opens, microseconds(moment)))


def digest(data: Dataset) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the examples: their customers, cutoffs and labels, in order."""
    assert data.labels is not None
    content = hashlib.sha256(json.dumps(data.customer_id.tolist()).encode())
    for array in (data.cutoff, data.labels.churn, data.labels.purchases, data.labels.spend):
        content.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()[:16]


def erase(settings: Settings, customer_id: str) -> int:
    """Remove a customer from every snapshot and from the predictions in it; gives the rows removed."""
    removed = 0
    for folder in sorted((settings.var / "snapshots").glob("*/")):
        for file in [*folder.glob("predictions/*.parquet"), *folder.glob("test_predictions.parquet")]:
            table = pq.read_table(file)
            rest = table.filter(pc.not_equal(table["customer_id"], customer_id))
            if rest.num_rows < table.num_rows:
                removed += table.num_rows - rest.num_rows
                with atomically(file) as temporary:
                    pq.write_table(rest, temporary)
        if (folder / META).exists():
            data = read_dataset(folder)
            rest_of_data = without_customer(data, customer_id)
            if len(rest_of_data) < len(data):
                removed += len(data) - len(rest_of_data)
                write_dataset(folder, rest_of_data)
    return removed


def write_outcome(settings: Settings, cutoff: datetime, outcome: dict[str, Any]) -> None:
    """Mark the training at `cutoff` finished, with what became of it."""
    _write_json(settings.state.snapshot(cutoff) / OUTCOME, {"question_digest": settings.question.digest, **outcome})


def finished_trainings(state: StateFolder, question_digest: str) -> list[datetime]:
    """The cutoffs of the finished trainings of a question, ascending."""
    outcomes = sorted(state.path.glob(f"snapshots/*/{OUTCOME}"))
    same = (file for file in outcomes if json.loads(file.read_text("utf-8"))["question_digest"] == question_digest)
    return [midnight(datetime.fromisoformat(file.parent.name)) for file in same]


def microseconds(moment: datetime) -> int:
    """Microseconds from 1970 in UTC, as `Dataset.cutoff` counts them."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def _at(data: Dataset, moments: list[str]) -> Dataset:
    return data.select(np.isin(data.cutoff, [microseconds(datetime.fromisoformat(moment)) for moment in moments]))


def _with_outcome(data: Dataset, question: Question) -> Dataset:
    """`data` without who ended within the gap: they are scored like others, but no horizon of theirs has an outcome."""
    assert data.labels is not None
    place = question.horizons.index(question.primary)
    return data.select(np.isfinite(data.labels.churn[:, place])) if question.ends_with and question.gap else data


def _when_somebody_was(data: Dataset, question: Question) -> str:
    """When a training would find somebody, as far as the examples tell."""
    if not len(data):
        types = f" of the types {', '.join(question.activity)}" if question.activity else ""
        return f"nobody ever is; look at the exclusions and at the activity{types} that the question asks for"
    last = EPOCH + timedelta(microseconds=int(data.cutoff.max()))
    return (
        f"the last cutoff with somebody is {last.date()}: train as of {(last + question.reach * DAY).date()} would do"
    )


def _churn(settings: Settings, part: Dataset) -> float | None:
    """The share that churned within the primary horizon; None where nobody is in the slice."""
    assert part.labels is not None
    churn = part.labels.churn[:, part.horizons.index(settings.question.primary)]
    return float(np.nanmean(churn)) if np.isfinite(churn).any() else None


def _first_event(events: ir.Table) -> datetime:
    first = events.filter(~events.deleted).event_time.min().to_pyarrow().as_py()
    if first is None:
        raise NothingToDo("the event store holds no events")
    moment: datetime = first
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _discard(settings: Settings, folder: Path) -> None:
    """Remove what an unfinished or another question's training left, and its runs from MLflow's pages."""
    if (folder / META).exists():
        tracking.discard(settings, json.loads((folder / META).read_text("utf-8"))["run_id"])
    shutil.rmtree(folder, ignore_errors=True)


def _open_parent(
    settings: Settings, cutoff: datetime, meta: dict[str, Any], folder: Path, attributes: dict[str, Kind]
) -> str:
    run = tracking.open_run(settings, f"comparison {cutoff.date()}")
    docs = index_page(settings).as_uri()
    run.tags(
        {
            "data_docs": docs,
            "cutoff": meta["cutoff"],
            "question_digest": meta["question_digest"],
            "test_digest": meta["test_digest"],
        }
    )
    run.parameters({"question": meta["question"], "seed": settings.run.seed, "models": list(settings.models.names)})
    run.metrics({f"examples_{name}": rows for name, rows in meta["examples"].items()})
    run.dataset("test", meta["test_digest"], meta["examples"]["test"], folder)
    words = definitions(named(attributes, "numeric"), named(attributes, "categorical"), settings.question)
    run.text(json.dumps(words, indent=2), "features.json")
    return run.run_id


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomically(path) as file:
        file.write_text(json.dumps(content, indent=2), "utf-8")
