"""A recipe on the snapshot's windows: fitted with every seed on each window's training part, stopped by validation,
calibrated on its part, and asked for predictions of what comes later.
"""

import hashlib
import logging
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.dataset import Dataset
from models import MODELS, model_class
from models.base import Model
from models.held_out import adjusted_losses, calibrate, cross_calibrated
from models.spec import BETWEEN_SEEDS, ModelSpec
from pipeline.config.sections import Evidence, Models
from pipeline.runtime.errors import ConfigurationError
from pipeline.training.ablations import SCHEMA, ablation_table
from pipeline.training.predictions import prediction_rows, repeated_for
from pipeline.training.snapshot import PARTS, Snapshot, digest

log = logging.getLogger("recur.train")


@dataclass(frozen=True)
class Fits:
    """`model`, `train` and `test` are of the latest window and the first seed. `predictions` has a row for each seed,
    window, later part, horizon and example; `ablations` one for each ablation and example, at the primary horizon.
    `valid_log_loss`, by which the best of a family is chosen, is the mean over seeds, windows and the examples of
    validation and calibration, each under the map that the other part teaches, None where none could be scored;
    `information` the digest of all that was known.
    """

    model: Model
    train: Dataset
    test: Dataset
    predictions: pa.Table
    ablations: pa.Table
    valid_log_loss: float | None
    fit_seconds: float
    information: str


def fit_windows(spec: ModelSpec, snapshot: Snapshot, evidence: Evidence, random_state: int) -> Fits:
    """Fit `spec` on every window, once for each of `evidence.seeds`, by what `Snapshot.part` lets a part know."""
    primary = snapshot.question.primary_index
    losses, predictions, ablated, seconds = [], [], [SCHEMA.empty_table()], 0.0
    seeds, seeded = range(evidence.seeds), model_class(spec.name).seeded
    for seed in seeds if seeded else seeds[:1]:
        for window in range(len(snapshot.windows)):
            parts = snapshot.parts(window)
            model = spec.build(snapshot.question.horizons, random_state + BETWEEN_SEEDS * seed)
            seconds += timed_fit(model, spec.name, parts.train, parts.valid)
            held_out = parts.held_out
            uncalibrated = {part: model.predict(data) for part, data in held_out.items()}
            calibrate(model, evidence.calibration, parts)
            for part, crossed in cross_calibrated(model.calibration, held_out, uncalibrated).items():
                losses.append(adjusted_losses(held_out[part], crossed, primary))
                predictions.append(prediction_rows(seed, window, part, held_out[part], crossed))
            predictions.append(prediction_rows(seed, window, "test", parts.test, model.predict(parts.test)))
            if seed == 0:
                ablated.append(ablation_table(model, parts, window, evidence, primary))
                latest = model, parts
    model, parts = latest
    every_loss, every_row = np.concatenate(losses), pa.concat_tables(predictions)
    return Fits(
        model,
        parts.train,
        parts.test,
        predictions=every_row if seeded else repeated_for(seeds, every_row),
        ablations=pa.concat_tables(ablated),
        valid_log_loss=float(every_loss.mean()) if len(every_loss) else None,
        fit_seconds=seconds,
        information=information(snapshot),
    )


def default_spec(name: str, models: Models) -> ModelSpec:
    """The recipe of that name as the settings for networks have it. Only a network has an optimizer; a boosted model's
    learning rate is another thing. Raises ConfigurationError for a name that there is not.
    """
    if name not in MODELS:
        raise ConfigurationError(f"models.names: there is no model {name!r}; there are {', '.join(MODELS)}")
    chosen = {"optimizer": models.optimizer, "learning_rate": models.learning_rate, "max_epochs": models.max_epochs}
    defaults = model_class(name).defaults
    settable = defaults if "optimizer" in defaults else {}
    return ModelSpec(name, {key: value for key, value in chosen.items() if key in settable and value is not None})


def timed_fit(model: Model, name: str, train: Dataset, valid: Dataset | None) -> float:
    """Wall seconds of a fit, whose epochs are logged under `name`."""
    started = time.perf_counter()
    model.fit(train, valid, lambda epoch, measures: log.debug("%s epoch %d: %s", name, epoch, measures))
    return time.perf_counter() - started


def information(snapshot: Snapshot) -> str:
    """The digest of all that a fit may know: the examples of parts before the test, and the columns' names."""
    sequences = snapshot.data.sequences
    content = hashlib.sha256()
    for window in range(len(snapshot.windows)):
        for part in PARTS[:-1]:
            content.update(digest(snapshot.part(part, window)).encode())
    names = [*snapshot.data.aggregates.columns, *sequences.numeric, *sequences.categorical]
    content.update("\0".join(map(str, names)).encode())
    return content.hexdigest()[:16]
