"""One customer: what the champion says of them now and why, and what was published of them before."""

from typing import Any

import numpy as np

from models.explanation.attributions import attributions
from models.explanation.reasons import figures, reasons
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.steps.score import asked, guarded_champion
from pipeline.training import registry


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
    place, horizon = settings.question.horizons.index(settings.question.primary), settings.question.primary
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
    contributions = attributions(model, one, place, data)
    by_size = contributions.iloc[0].sort_values(ascending=False, kind="stable")
    return known | {
        "horizon_days": horizon,
        "churn_probability": float(predictions.churn_probability[0, place]),
        "expected_purchases": _value(predictions.expected_purchases, 0, place),
        "expected_spend": _value(predictions.expected_spend, 0, place),
        "reasons": reasons(contributions, figures(one))[0],
        "contributions": {str(group): float(change) for group, change in by_size.items()},
        "history": history,
    }


def _history(settings: Settings, customer_id: str) -> list[dict[str, Any]]:
    from sqlalchemy import text

    from pipeline.serving.database import open_predictions

    statement = text(
        "select score_date, churn_probability, risk_percentile, risk_band, risk_change, reasons, model_name, "
        "model_version from prediction_history where customer_id = :customer and horizon_days = :horizon "
        "order by score_date desc"
    )
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        rows = connection.execute(statement, {"customer": customer_id, "horizon": settings.question.primary})
        return [dict(row) for row in rows.mappings()]


def _value(values: np.ndarray | None, row: int, column: int) -> float | None:
    return None if values is None else float(values[row, column])
