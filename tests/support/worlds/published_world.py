"""Nights of made-up scores to publish, for the tests and checks of what serves them: no model, no event."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from models.survival import curve_days
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.nights import Night
from pipeline.steps.publish import publish
from tests.support.published import predictions_of

REASONS = "no event for 40 days, usually every 6; spend fell from 210 to 40"
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def night_of(number: int) -> Night:
    """The made-up world's night with that number, from 0."""
    return Night(None, FIRST + timedelta(days=number))


def leave_scores(settings: Settings, number: int, customers: int, horizons: Sequence[int] = (28,)) -> Path:
    """Writes what `score` would leave for the night: a walk of each customer's risk, the same on every call."""
    base = np.random.default_rng(7).beta(1.2, 6.0, customers)
    moved = np.random.default_rng([11, number]).normal(0, 0.02, customers)
    # Survival falls with the horizon: the probability of no event shrinks as there is more time for one.
    probability = np.clip(base + moved, 0.001, 0.999)[:, None] ** (np.asarray(horizons) / horizons[0])[None, :]
    rows, days = customers * len(horizons), curve_days(max(horizons))
    curve = np.round(np.clip(base + moved, 0.001, 0.999)[:, None] ** (days / horizons[0]), 4)
    longest = np.tile(np.asarray(horizons) == max(horizons), customers)
    names = np.char.add("c", np.char.zfill(np.arange(customers).astype(str), 7))
    reasons = np.where(
        base > np.quantile(base, 0.95), "no event for 40 days, usually every 6; spend fell from 210 to 40", ""
    )
    frame = pd.DataFrame(
        {
            "customer_id": np.repeat(names, len(horizons)),
            "horizon_days": np.tile(np.asarray(horizons, np.int64), customers),
            "churn_probability": probability.ravel(),
            "expected_purchases": np.full(rows, 1.5),
            "expected_spend": np.round(np.repeat(base, len(horizons)) * 300, 2),
            "reasons": pd.Series(np.repeat(reasons, len(horizons))).replace("", None),
            "days_since_last_event": np.repeat(np.round(90 * base, 2), len(horizons)),
            "model_name": "gru",
            "model_version": "1",
            "run_id": "made-up",
            "question_digest": settings.question.digest,
            "curve": np.where(longest, np.repeat([json.dumps(each) for each in curve.tolist()], len(horizons)), None),
        }
    )
    path = settings.state.scored(night_of(number))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    return path


def publish_nights(
    settings: Settings, nights: int, customers: int, horizons: Sequence[int] = (28,), first: int = 0
) -> None:
    """Leaves and publishes that many nights, each with a load on record."""
    for number in range(first, first + nights):
        with recorded(predictions_of(settings), settings.state, "load", night_of(number)) as figures:
            figures |= {"rows_read": 510, "rows_accepted": 500, "rows_quarantined": 7, "rows_already_known": 3}
        leave_scores(settings, number, customers, horizons)
        publish(settings, night_of(number))


def write_evidence(settings: Settings) -> None:
    """A comparison of two models, what moves risk, a quarantine, reviews of the first three nights, one of them in
    parts, the monitoring of the last of them, and the decision.
    """
    from sqlalchemy import insert

    from pipeline.serving.tables import (
        global_importance,
        monitored,
        recency,
        retraining_decision,
        review,
        review_of_segment,
    )

    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value * 0.95, "high": value * 1.05}

    metrics = {"roc_auc": 0.85, "log_loss": 0.31, "calibration_error": 0.02, "lift_at_10_percent": 3.1}
    comparison = {
        "question_digest": settings.question.digest,
        "test_digest": "4567",
        "verdict": {"decision": "no detectable difference", "sentence": "No detectable difference between the two."},
        "models": [
            {
                "name": name,
                "family": family,
                "run_id": "made-up",
                "fit_seconds": 1.5,
                "predict_customers_per_second": 1000.0,
                "metrics": {metric: interval(value * factor) for metric, value in metrics.items()},
            }
            for name, family, factor in (("gru", "recurrent", 1.0), ("lightgbm", "conventional", 0.99))
        ],
    }
    predictions_of(settings).write_comparison(FIRST, comparison)
    predictions_of(settings).write_quarantine(night_of(2), {"amount is no number": 7})
    reviewed = {"base_rate": 0.16, "mean_predicted": 0.165, "roc_auc": 0.84, "log_loss": 0.32, "lift_at_10_percent": 3}
    rows = [
        {
            "score_date": night_of(number).score_date,
            "horizon_days": settings.question.primary,
            "metric": metric,
            "value": value + 0.01 * number,
            "customers": 500,
            "reviewed_at": FIRST,
        }
        for number in range(3)
        for metric, value in reviewed.items()
    ]
    day = night_of(2).score_date
    of_parts = [
        {key: value for key, value in row.items() if key != "reviewed_at"} | {"segment": "treatment", "member": member}
        for row in rows
        if row["score_date"] == day
        for member in ("treated", "not treated")
    ]
    key = {"cutoff": FIRST.date(), "model_name": "gru"}
    weights = {"last_event": ("time since the last event", 0.9), "events": ("how often, and in which rhythm", 0.4)}
    intervals = [(0, 7, 0.05, 0.04), (7, 28, 0.2, 0.22), (28, None, 0.6, 0.58)]
    with predictions_of(settings).writing() as connection:
        connection.execute(insert(review), rows)
        connection.execute(insert(review_of_segment), of_parts)
        connection.execute(
            insert(global_importance),
            [
                key | {"input": name, "words": words, "weight": weight, "raises": 0.4}
                for name, (words, weight) in weights.items()
            ],
        )
        connection.execute(
            insert(recency),
            [
                key
                | {"from_days": start, "to_days": end, "customers": 100, "predicted": predicted, "happened": happened}
                for start, end, predicted, happened in intervals
            ],
        )
        moved = {"score_date": day, "kind": "drift", "name": "amount_28", "value": 0.31, "reference": 0.25}
        connection.execute(insert(monitored), [moved])
        connection.execute(
            insert(retraining_decision).values(
                score_date=day,
                decision="alert",
                why="what customers do has moved since training: amount 28 (0.31), where 0.25 is much",
                model_name="gru",
                model_version="1",
                decided_at=FIRST,
            )
        )
