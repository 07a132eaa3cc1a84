"""One customer: the champion's prediction now and its reasons, and what was published before."""

from typing import Any

import numpy as np
from sqlalchemy import text

from models.explanation.attributions import attributions
from models.explanation.reasons import figures, reasons
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.scoring.champion import guarded_champion
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.whole_histories import read_night
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.training.registry import open_registry

HISTORY = text(
    "select score_date, churn_probability, risk_percentile, risk_band, risk_change, reasons, model_name, "
    "model_version from prediction_history where customer_id = :customer and horizon_days = :horizon "
    "order by score_date desc"
)


def explain(settings: Settings, customer_id: str) -> dict[str, Any]:
    """The champion's prediction for one customer at the last loaded night, its reasons, and the published history.

    Gives `customer_id, score_date, model, horizon_days, churn_probability, expected_purchases, expected_spend, reasons,
    contributions` (group of inputs to the change of the churn logit, largest first) and `history` (rows of
    `prediction_history`, latest first). All but the first three are None, or empty, where the customer is not eligible
    and was before. Raises RecurError for a customer who is neither eligible nor in the history.
    """
    inputs, question = ScoringInputs.open(settings), settings.question
    nights = inputs.store.nights()
    if not nights:
        raise RecurError("the event store is empty: run `recur run` first")
    cutoff = midnight(max(nights))
    registry = open_registry(settings)
    predictions_store = open_predictions(settings.predictions, settings.root)
    champion = guarded_champion(registry, predictions_store, cutoff)
    data = read_night(inputs, cutoff).data
    horizon = question.primary_index
    explanation: dict[str, Any] = {
        "customer_id": customer_id,
        "score_date": cutoff.date(),
        "model": champion.label,
        "horizon_days": question.primary,
        **dict.fromkeys(("churn_probability", "expected_purchases", "expected_spend")),
        "reasons": [],
        "contributions": {},
        "history": _history(predictions_store, customer_id, question.primary),
    }
    rows = np.flatnonzero(data.customer_id == customer_id)
    if not len(rows):
        if not explanation["history"]:
            raise RecurError(
                f"customer {customer_id} has no event in the {question.active_within} days before "
                f"{cutoff.date()} and was never scored: check the id"
            )
        return explanation
    model, example = registry.load(champion), data.select(rows)
    predictions = model.predict(example)
    contributions = attributions(model, example, horizon, data)
    by_size = contributions.iloc[0].sort_values(ascending=False, kind="stable")
    return explanation | {
        "churn_probability": float(predictions.churn_probability[0, horizon]),
        "expected_purchases": _value(predictions.expected_purchases, horizon),
        "expected_spend": _value(predictions.expected_spend, horizon),
        "reasons": reasons(contributions, figures(example))[0],
        "contributions": {str(group): float(change) for group, change in by_size.items()},
    }


def _history(store: PredictionsStore, customer_id: str, horizon_days: int) -> list[dict[str, Any]]:
    with store.reading() as connection:
        rows = connection.execute(HISTORY, {"customer": customer_id, "horizon": horizon_days})
        return [dict(row) for row in rows.mappings()]


def _value(values: np.ndarray | None, horizon: int) -> float | None:
    return None if values is None else float(values[0, horizon])
