"""Score a night: ask the champion about every customer eligible at the cutoff, and why those most at risk are so."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.build import build_dataset
from features.dataset import Dataset
from models.contract import Predictions
from pipeline import paths, registry
from pipeline.engine import connect
from pipeline.errors import NothingToDo, RecurError
from pipeline.night_reasons import reasons_of_a_night
from pipeline.nights import Night
from pipeline.record import recorded
from pipeline.settings import Settings
from pipeline.snapshot import require_loaded
from pipeline.store.event_store import open_store

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("horizon_days", pa.int64()),
        ("churn_probability", pa.float64()),
        ("expected_purchases", pa.float64()),
        ("expected_spend", pa.float64()),
        ("reasons", pa.string()),
        ("days_since_last_event", pa.float64()),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
        ("question_digest", pa.string()),
    ]
)


def score(settings: Settings, night: Night) -> dict[str, Any]:
    """Write `paths.scored`: one row a customer eligible at the night's cutoff and horizon, by customer and horizon.

    Features use events with event time < cutoff and known time <= cutoff. Raises NothingToDo without a champion, and
    RecurError where the champion knew anything past the cutoff or answers another question, or the night is not loaded.
    """
    path = paths.scored(settings, night)
    with recorded(settings, "score", night) as figures:
        path.unlink(missing_ok=True)  # what an earlier run left must not be published for this one
        champion = guarded_champion(settings, night.cutoff)
        data = asked(settings, night.cutoff)
        rows = SCHEMA.empty_table()
        if len(data):
            model = registry.load(settings, champion)
            predictions = model.predict(data)
            words = reasons_of_a_night(settings, model, data, predictions)
            rows = _rows(data, predictions, words, champion)
        with paths.atomically(path) as file:
            pq.write_table(rows, file)
        figures["rows_scored"] = len(data)
        figures["message"] = champion.label
    return {"rows_scored": len(data), "model_version": champion.number, "model_name": champion.recipe}


def guarded_champion(settings: Settings, cutoff: datetime) -> registry.Version:
    """The champion, if it may score `cutoff`. Raises NothingToDo where there is none, and RecurError where its training
    knew anything past `cutoff` or it answers another question.
    """
    champion = registry.champion(settings)
    if champion is None:
        raise NothingToDo(f"there is no champion yet to score {cutoff.date()}: it comes with the first training")
    if champion.question_digest != settings.question.digest:
        raise RecurError(
            f"the champion, {champion.label}, answers question {champion.question_digest}, and [question] asks "
            f"{settings.question.digest}: run `recur train`"
        )
    if champion.trained_until > cutoff:
        raise RecurError(
            f"the champion, {champion.label}, knows what happened after {cutoff.date()} and may not score it: "
            "promote an earlier version with `recur promote VERSION`, or go back with `recur rollback`"
        )
    return champion


def asked(settings: Settings, cutoff: datetime) -> Dataset:
    """Every customer eligible at `cutoff`, by what was known then, without labels."""
    store = open_store(settings)
    require_loaded(store, cutoff)
    backend = connect(settings)
    try:
        return build_dataset(store.as_of(backend, cutoff), [cutoff], settings.question, store.attributes)
    finally:
        backend.disconnect()


def _rows(data: Dataset, predictions: Predictions, words: list[str | None], champion: registry.Version) -> pa.Table:
    """A row a customer and horizon, in that order. The reasons are of the primary horizon and stand in all its rows."""
    horizons, customers = len(data.horizons), len(data)

    def spread(values: Any) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype=object), horizons)

    def flat(values: np.ndarray | None) -> pa.Array:
        return (
            pa.nulls(customers * horizons, pa.float64()) if values is None else pa.array(values.ravel(), pa.float64())
        )

    frame = {
        "customer_id": pa.array(spread(data.customer_id).tolist(), pa.string()),
        "horizon_days": pa.array(np.tile(np.asarray(data.horizons, np.int64), customers)),
        "churn_probability": flat(predictions.churn_probability),
        "expected_purchases": flat(predictions.expected_purchases),
        "expected_spend": flat(predictions.expected_spend),
        "reasons": pa.array(spread(words).tolist(), pa.string()),
        "days_since_last_event": pa.array(np.repeat(data.aggregates["days_since_last_event"].to_numpy(), horizons)),
        "model_name": pa.array([champion.recipe] * customers * horizons),
        "model_version": pa.array([str(champion.number)] * customers * horizons),
        "run_id": pa.array([champion.run_id] * customers * horizons),
        "question_digest": pa.array([champion.question_digest] * customers * horizons),
    }
    return pa.table(frame, schema=SCHEMA).sort_by([("customer_id", "ascending"), ("horizon_days", "ascending")])
