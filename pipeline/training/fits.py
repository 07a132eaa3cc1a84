"""A recipe on the snapshot's windows: fitted with every seed on each window's training slice, stopped by validation,
calibrated on its slice, and asked of what comes later.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from features.dataset import Dataset
from models import MODELS, model_class
from models.base import Model, OnEpoch, Predictions
from models.calibration import Calibration
from models.evaluation.ablation import ablations, with_own_histories
from models.evaluation.metrics import example_log_loss
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.training.snapshot import PARTS, Snapshot, digest

BETWEEN_SEEDS = 1_000_003
MOST_ALTERED = 3_000  # test examples of a window that are asked again with altered histories
WITHOUT_STATE = "without the state"


@dataclass(frozen=True)
class Fits:
    """`model` and its `train` are of the latest window and the first seed. `predictions` has a row for each seed,
    window, later slice, horizon and example; `altered` one for each alteration and example asked again, at the primary
    horizon, with its place among the window's test examples. `valid_log_loss`, by which the best of a family is chosen,
    is the mean over seeds, windows and the examples of validation and calibration, each under the map that the other
    slice teaches, None where none could be scored; `known` the digest of all that was known.
    """

    model: Model
    train: Dataset
    test: Dataset
    predictions: pa.Table
    altered: pa.Table
    valid_log_loss: float | None
    fit_seconds: float
    known: str


def fit_windows(
    settings: Settings, snapshot: Snapshot, name: str, parameters: dict[str, Any], on_epoch: OnEpoch
) -> Fits:
    """Fit the recipe `name` with `parameters` on every window, once for each of `evidence.seeds`. Whatever is known
    only after a slice's end is unknown to it: see `Snapshot.part`.
    """
    last = len(snapshot.windows) - 1
    losses, tables, asked_again, seconds = [], [], [], 0.0
    seeds = range(settings.evidence.seeds)
    for seed in seeds if model_class(name).seeded else seeds[:1]:
        for window in range(last + 1):
            known, valid, calibrate, test = (snapshot.part(part, window) for part in PARTS)
            model = recipe(settings, name, parameters, seed)
            seconds += timed_fit(model, known, valid, on_epoch)
            # Calibration may be the latest part of validation, and all of it where validation has one cutoff.
            before = valid.select(~np.isin(valid.cutoff, calibrate.cutoff))
            judged = {part: held for part, held in (("valid", before), ("calibrate", calibrate)) if len(held)}
            said = {part: model.predict(held) for part, held in judged.items()}
            calibrate_on(settings, model, valid, calibrate)
            for part, probability in _crossed(model, judged, said).items():
                said[part] = replace(said[part], churn_probability=probability)
                losses.append(known_losses(judged[part], said[part], settings.question.primary))
                tables.append(_predictions(seed, window, part, judged[part], said[part]))
            tables.append(_predictions(seed, window, "test", test, model.predict(test)))
            if seed == 0:
                asked_again += _altered(settings, window, model, test)
                asked_again += _without_state(settings, window, model, (known, valid, calibrate, test))
                kept = model, known, test
    everything, predictions = np.concatenate(losses), pa.concat_tables(tables)
    if not model_class(name).seeded:
        predictions = _for_each(seeds, predictions)
    return Fits(
        *kept,
        predictions=predictions,
        altered=pa.concat_tables(asked_again or [_asked_again(0, "", np.zeros(0, np.int64), np.zeros(0))]),
        valid_log_loss=float(everything.mean()) if len(everything) else None,
        fit_seconds=seconds,
        known=known_digest(snapshot),
    )


def recipe(settings: Settings, name: str, parameters: dict[str, Any] | None = None, seed: int = 0) -> Model:
    """An unfitted model of that name: with `parameters`, or else its defaults under the settings for networks; `seed`
    counts those of `evidence.seeds`. Raises ConfigurationError for a name that there is not.
    """
    if name not in MODELS:
        raise ConfigurationError(f"models.names: there is no model {name!r}; there are {', '.join(MODELS)}")
    kind = model_class(name)
    chosen = default_parameters(settings, kind) if parameters is None else parameters
    return kind(settings.question.horizons, settings.run.seed + BETWEEN_SEEDS * seed, **chosen)


def default_parameters(settings: Settings, kind: type[Model]) -> dict[str, Any]:
    """What the settings say of a model's training. Only a network has an optimizer; a boosted model's learning rate is
    another thing.
    """
    chosen = {
        "optimizer": settings.models.optimizer,
        "learning_rate": settings.models.learning_rate,
        "max_epochs": settings.models.max_epochs,
    }
    known = kind.defaults if "optimizer" in kind.defaults else {}
    return {key: value for key, value in chosen.items() if key in known and value is not None}


def timed_fit(model: Model, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch) -> float:
    """Wall seconds of a fit."""
    started = time.perf_counter()
    model.fit(train, valid, on_epoch)
    return time.perf_counter() - started


def calibrate_on(settings: Settings, model: Model, valid: Dataset, slice: Dataset) -> None:
    """Calibrate as `evidence.calibration` says, where the slice holds a label. Where it is the latest part of
    validation, what is left of validation comes before it.
    """
    kind = settings.evidence.calibration
    if kind == "none" or slice.labels is None or not np.isfinite(slice.labels.churn).any():
        return
    before = valid.select(valid.cutoff < slice.cutoff.min())
    labelled = before.labels is not None and bool(np.isfinite(before.labels.churn).any())
    model.calibrate(None if kind == "chosen" else kind, slice, before if labelled else None)


def _crossed(model: Model, judged: dict[str, Dataset], said: dict[str, Predictions]) -> dict[str, np.ndarray]:
    """For validation and calibration the churn [examples, horizons] that the model would be held to: what it `said`,
    under its kind of map as fitted on the other of the two. So all that is known before the test has a part in the
    choice, and what is chosen by is what is compared: a model that a map mends is not passed over for it.
    """
    crossed = {part: predictions.churn_probability for part, predictions in said.items()}
    if model.calibration is None or len(judged) < 2:
        return crossed
    for part, other in (("valid", "calibrate"), ("calibrate", "valid")):
        labels = judged[other].labels
        assert labels is not None
        fitted = Calibration.fit(model.calibration.kind, labels.churn, said[other].churn_probability, {})
        crossed[part] = fitted.churn(said[part].churn_probability)
    return crossed


def known_losses(data: Dataset, predictions: Predictions, horizon: int) -> np.ndarray:
    """The log loss of each example whose outcome is known, in nats."""
    assert data.labels is not None
    place = data.horizons.index(horizon)
    truth = data.labels.churn[:, place]
    known = ~np.isnan(truth)
    return example_log_loss(truth[known], predictions.churn_probability[known, place])


def known_digest(snapshot: Snapshot) -> str:
    """The digest of all that a fit may know: the examples of every slice before the test, and their aggregates' names
    and attributes.
    """
    sequences = snapshot.data.sequences
    content = hashlib.sha256()
    for window in range(len(snapshot.windows)):
        for part in PARTS[:-1]:
            content.update(digest(snapshot.part(part, window)).encode())
    names = [*snapshot.data.aggregates.columns, *sequences.numeric, *sequences.categorical]
    content.update("\0".join(map(str, names)).encode())
    return content.hexdigest()[:16]


def _altered(settings: Settings, window: int, model: Model, test: Dataset) -> list[pa.Table]:
    place = model.horizons.index(settings.question.primary)
    rows = np.unique(np.linspace(0, len(test) - 1, min(len(test), MOST_ALTERED)).astype(np.int64))
    part = with_own_histories(test.select(rows))
    tables = []
    for what, sequences in ablations(part, settings.run.seed):
        predictions = model.predict_reading(part, sequences)
        if predictions is None:
            break
        tables.append(_asked_again(window, what, rows, predictions.churn_probability[:, place]))
    return tables


def _without_state(settings: Settings, window: int, model: Model, slices: tuple[Dataset, ...]) -> list[pa.Table]:
    """The same heads trained on the same examples without the state, for a model that can do without."""
    bare = model.without_state()
    if bare is None:
        return []
    known, valid, calibrate, test = slices
    bare.fit(known, valid)
    calibrate_on(settings, bare, valid, calibrate)
    said = bare.predict(test).churn_probability[:, model.horizons.index(settings.question.primary)]
    return [_asked_again(window, WITHOUT_STATE, np.arange(len(test)), said)]


def _asked_again(window: int, what: str, rows: np.ndarray, probability: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "window": pa.array(np.full(len(rows), window, np.int64)),
            "altered": pa.array([what] * len(rows), pa.string()),
            "row": pa.array(rows),
            "churn_probability": pa.array(probability),
        }
    )


def _for_each(seeds: Sequence[int], predictions: pa.Table) -> pa.Table:
    """What was predicted with the first seed as that of each of `seeds`."""
    place = predictions.column_names.index("seed")
    columns = [pa.array(np.full(len(predictions), seed, np.int64)) for seed in seeds]
    return pa.concat_tables([predictions.set_column(place, "seed", column) for column in columns])


def _predictions(seed: int, window: int, name: str, data: Dataset, predictions: Predictions) -> pa.Table:
    """One row an example and horizon, in the examples' order: what was predicted, beside what happened."""
    assert data.labels is not None
    tables = []
    for place, days in enumerate(data.horizons):
        columns = {
            "seed": pa.array(np.full(len(data), seed, np.int64)),
            "window": pa.array(np.full(len(data), window, np.int64)),
            "slice": pa.array([name] * len(data), pa.string()),
            "customer_id": pa.array(data.customer_id.tolist(), pa.string()),
            "cutoff": pa.array(data.cutoff, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "horizon_days": pa.array(np.full(len(data), days, np.int64)),
            "churn": pa.array(data.labels.churn[:, place]),
            "churn_probability": pa.array(predictions.churn_probability[:, place]),
        }
        for outcome in ("purchases", "spend"):
            values = getattr(predictions, f"expected_{outcome}")
            columns[outcome] = pa.array(getattr(data.labels, outcome)[:, place])
            columns[f"expected_{outcome}"] = (
                pa.nulls(len(data), pa.float64()) if values is None else pa.array(values[:, place])
            )
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)
