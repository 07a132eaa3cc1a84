"""Score a night: ask the champion about every customer eligible at the cutoff, and why those most at risk are so."""

import math
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.build import build_dataset
from features.dataset import Dataset
from models.contract import Model, Predictions
from models.evidence.explanation import occlusion
from models.evidence.reasons import reasons
from pipeline import paths, registry
from pipeline.engine import connect
from pipeline.errors import NothingToDo, RecurError
from pipeline.nights import Night, midnight
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
            words = _reasons(settings, model, data, predictions)
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


def explain(settings: Settings, customer_id: str) -> dict[str, Any]:
    """The champion's opinion of one customer at the last loaded night, its reasons, and the published history.

    Gives `customer_id, score_date, model, horizon_days, churn_probability, expected_purchases, expected_spend, reasons,
    contributions` (group of inputs to the change of the churn logit, largest first) and `history` (rows of
    `prediction_history`, latest first). All but the first three are None, or empty, where the customer is not eligible
    and was before. Raises RecurError for a customer who is neither eligible nor in the history.
    """
    nights = open_store(settings).nights()
    if not nights:
        raise RecurError("the event store is empty: run `recur run` first")
    cutoff = midnight(max(nights))
    champion = guarded_champion(settings, cutoff)
    data = asked(settings, cutoff)
    place, horizon = _primary(settings), settings.question.primary
    history = _history(settings, customer_id)
    known: dict[str, Any] = {"customer_id": customer_id, "score_date": cutoff.date(), "model": champion.label}
    found = np.flatnonzero(data.customer_id == customer_id)
    if not len(found):
        if not history:
            raise RecurError(
                f"customer {customer_id} has no event in the {settings.question.active_within} days before "
                f"{cutoff.date()} and was never scored: check the id"
            )
        absent = dict.fromkeys(("churn_probability", "expected_purchases", "expected_spend"))
        return known | absent | {"horizon_days": horizon, "reasons": [], "contributions": {}, "history": history}
    model, one = registry.load(settings, champion), data.select(found)
    predictions = model.predict(one)
    contributions = occlusion(model, one, place, data)
    by_size = contributions.iloc[0].sort_values(ascending=False, kind="stable")
    return known | {
        "horizon_days": horizon,
        "churn_probability": float(predictions.churn_probability[0, place]),
        "expected_purchases": _value(predictions.expected_purchases, 0, place),
        "expected_spend": _value(predictions.expected_spend, 0, place),
        "reasons": reasons(contributions, one.aggregates)[0],
        "contributions": {str(group): float(change) for group, change in by_size.items()},
        "history": history,
    }


def _reasons(settings: Settings, model: Model, data: Dataset, predictions: Predictions) -> list[str | None]:
    """The reasons, in words, for the share `serving.reasons_share` most at risk at the primary horizon; else None."""
    place = _primary(settings)
    wanted = math.ceil(settings.serving.reasons_share * len(data) - 1e-9)
    words: list[str | None] = [None] * len(data)
    if not wanted:
        return words
    # The same order as that of the published rank: probability, then silence, then the id.
    risk, silence = predictions.churn_probability[:, place], data.aggregates["days_since_last_event"].to_numpy()
    order = np.lexsort((data.customer_id.astype(str), silence, risk))[::-1]
    rows = np.sort(order[:wanted])
    chosen = data.select(rows)
    told = reasons(occlusion(model, chosen, place, data), chosen.aggregates)
    for row, sentences in zip(rows.tolist(), told, strict=True):
        words[row] = "; ".join(sentences) or None
    return words


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


def _history(settings: Settings, customer_id: str) -> list[dict[str, Any]]:
    from sqlalchemy import text

    from pipeline.serving.database import reading

    statement = text(
        "select score_date, churn_probability, risk_percentile, risk_band, risk_change, reasons, model_name, "
        "model_version from prediction_history where customer_id = :customer and horizon_days = :horizon "
        "order by score_date desc"
    )
    with reading(settings) as connection:
        rows = connection.execute(statement, {"customer": customer_id, "horizon": settings.question.primary})
        return [dict(row) for row in rows.mappings()]


def _primary(settings: Settings) -> int:
    return settings.question.horizons.index(settings.question.primary)


def _value(values: np.ndarray | None, row: int, column: int) -> float | None:
    return None if values is None else float(values[row, column])
