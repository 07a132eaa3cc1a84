"""Train one recipe on the snapshot's examples, and keep what it says about the validation and the test examples."""

import json
import logging
import time
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.dataset import Dataset
from models import MODELS, model_class
from models.contract import Model, Predictions
from models.evidence.metrics import example_log_loss
from pipeline import paths, tracking
from pipeline.errors import ConfigurationError
from pipeline.nights import Night
from pipeline.record import recorded
from pipeline.settings import Settings
from pipeline.snapshot import digest, read_snapshot, slice_of

log = logging.getLogger("recur.train")


def train(settings: Settings, cutoff: datetime, name: str) -> str:
    """Fit the recipe `name` on each window's training slice, stopped by its validation slice; predict both later
    slices; log all of it to a child run, and give that run's id. Parameters and curves are the latest window's.

    Whatever is known only after a slice's end is unknown to it: see `snapshot.slice_of`.
    """
    with recorded(settings, f"train {name}", Night(None, cutoff)) as figures:
        data, meta = read_snapshot(settings, cutoff)
        folder = paths.snapshot(settings, cutoff)
        model = recipe(settings, name)
        with tracking.child_run(settings, name, meta["run_id"], {"family": model.family, "recipe": name}) as run:
            fit_seconds, losses, tables = 0.0, [], []
            for window in range(len(meta["windows"])):
                known, valid, test = (slice_of(data, meta, part, window) for part in ("train", "valid", "test"))
                model = recipe(settings, name)
                fit_seconds += timed_fit(model, known, valid)
                said = {"valid": (valid, model.predict(valid)), "test": (test, model.predict(test))}
                losses.append(validation_losses(*said["valid"], settings.question.primary))
                tables += [_predictions(window, part, *pair) for part, pair in said.items()]
            speed = _customers_per_second(model, test)
            all_losses = np.concatenate(losses)
            loss = float(all_losses.mean()) if len(all_losses) else None
            with paths.atomically(folder / "predictions" / f"{name}.parquet") as file:
                pq.write_table(pa.concat_tables(tables), file)
            measures = {"fit_seconds": fit_seconds, "predict_customers_per_second": speed, "valid_log_loss": loss}
            run.parameters({"seed": model.seed, "horizons": list(model.horizons), **model.parameters})
            run.metrics(measures)
            run.curves(model.curves)
            run.dataset("train", digest(known), len(known), folder)
            run.dataset("test", meta["test_digest"], meta["examples"]["test"], folder)
            result = {
                "name": name,
                "family": model.family,
                "run_id": run.run_id,
                "test_digest": meta["test_digest"],
                "parameters": model.parameters,
                "curves": model.curves,
                **measures,
            }
            with paths.atomically(folder / "results" / f"{name}.json") as file:
                file.write_text(json.dumps(result, indent=2), "utf-8")
        figures["rows_read"] = len(known)
        shown = "unknown" if loss is None else f"{loss:.4f}"
        figures["message"] = f"log loss {shown} on {len(all_losses):,} validation examples"
        log.info("%s trained on %s examples in %.1f s: %s", name, f"{len(known):,}", fit_seconds, figures["message"])
    return run.run_id


def recipe(settings: Settings, name: str, parameters: dict[str, Any] | None = None) -> Model:
    """An unfitted model of that name: with `parameters`, or else its defaults under the settings for networks.

    Raises ConfigurationError for a name that there is not.
    """
    if name not in MODELS:
        raise ConfigurationError(f"models.names: there is no model {name!r}; there are {', '.join(MODELS)}")
    kind = model_class(name)
    if parameters is None:
        chosen = {
            "optimizer": settings.models.optimizer,
            "learning_rate": settings.models.learning_rate,
            "max_epochs": settings.models.max_epochs,
        }
        # Only a network has an optimizer; a boosted model's learning rate is another thing.
        known = kind.defaults if "optimizer" in kind.defaults else {}
        parameters = {key: value for key, value in chosen.items() if key in known and value is not None}
    return kind(settings.question.horizons, settings.run.seed, **parameters)


def timed_fit(model: Model, train: Dataset, valid: Dataset | None) -> float:
    """Fit, telling of each epoch in the log; gives wall seconds."""
    started = time.perf_counter()
    model.fit(train, valid, lambda epoch, measures: log.debug("%s epoch %d: %s", type(model).__name__, epoch, measures))
    return time.perf_counter() - started


def validation_losses(valid: Dataset, predictions: Predictions, horizon: int) -> np.ndarray:
    """The log loss of each example whose outcome is known, in nats."""
    assert valid.labels is not None
    place = valid.horizons.index(horizon)
    truth = valid.labels.churn[:, place]
    known = ~np.isnan(truth)
    return example_log_loss(truth[known], predictions.churn_probability[known, place])


def _customers_per_second(model: Model, test: Dataset) -> float:
    """How fast a night would be scored: the customers of the last test cutoff, each asked once."""
    night = test.select(test.cutoff == test.cutoff.max())
    started = time.perf_counter()
    model.predict(night)
    return len(night) / (time.perf_counter() - started)


def _predictions(window: int, name: str, data: Dataset, predictions: Predictions) -> pa.Table:
    """One row an example and horizon, in the examples' order: what was predicted, beside what happened."""
    assert data.labels is not None
    tables = []
    for place, days in enumerate(data.horizons):
        columns = {
            "window": pa.array(np.full(len(data), window, np.int64)),
            "slice": pa.array([name] * len(data), pa.string()),
            "customer_id": pa.array(data.customer_id.tolist(), pa.string()),
            "cutoff": pa.array(data.cutoff, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "horizon_days": pa.array(np.full(len(data), days, np.int64)),
            "churn": pa.array(data.labels.churn[:, place]),
            "churn_probability": pa.array(predictions.churn_probability[:, place]),
        }
        for heading in ("expected_purchases", "expected_spend"):
            values = getattr(predictions, heading)
            columns[heading] = pa.nulls(len(data), pa.float64()) if values is None else pa.array(values[:, place])
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)
