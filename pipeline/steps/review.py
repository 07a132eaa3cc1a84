"""Review: published predictions against what really happened, once their horizon has closed, whole and by segment;
monitoring of the night's own scores; and whether to retrain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select

from features.question import Question
from models.evaluation.intervals import Interval, customer_weights, mean
from models.evaluation.scoring import score
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.drift import monitor
from pipeline.monitoring.realised import Closed, realised, segments_of, treated_by_the_source
from pipeline.monitoring.retraining import decide_retraining
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.serving.night_digests import require_whole_night
from pipeline.serving.night_tables import unreviewed
from pipeline.serving.tables import prediction, review_of_segment
from pipeline.serving.tables import review as reviews
from pipeline.sources.factory import open_source
from pipeline.training.registry import open_registry

REPLICATES, REPLICATES_OF_A_SEGMENT = 1000, 300
LEAST_CUSTOMERS, MOST_MEMBERS = 30, 12
"""Segments of fewer customers are left out; of an attribute, its most frequent values are shown."""
TREATMENT, CONTROL_GROUP = "treatment", "control group"


@dataclass(frozen=True)
class Reviewed:
    """The scored customers of one night and horizon whose outcome is known, and their probabilities and outcomes."""

    customers: np.ndarray
    probability: np.ndarray
    churn: np.ndarray

    def select(self, rows: np.ndarray) -> "Reviewed":
        return Reviewed(self.customers[rows], self.probability[rows], self.churn[rows])

    def metrics(self, replicates: int, seed: int) -> list[dict[str, Any]]:
        """A row for each metric, with its interval over customers."""
        weights = customer_weights(self.customers, replicates, seed)
        measured: Mapping[str, Interval] = {
            "base_rate": mean(self.churn, weights),
            "mean_predicted": mean(self.probability, weights),
            **score(self.churn, self.probability, weights),
        }
        return [
            {"metric": metric, "customers": len(self.customers)}
            | {"value": interval.value, "low": interval.low, "high": interval.high}
            for metric, interval in measured.items()
        ]


def review(settings: Settings, night: Night) -> dict[str, Any]:
    """Reviews every published score date and horizon that has closed (`score_date + horizon <= night.cutoff`) and has
    no review yet; monitors the night's own scores; decides whether to retrain.

    Who churned is what the question says, by the events as they are known at `night.cutoff`.
    Gives `reviewed`, a list of (score date, horizon in days), `decision` and `why`. Raises NothingToDo, which says when
    the next horizon closes, where none has closed and the decision is `fine`.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "review", night) as figures:
        with predictions.reading() as connection:
            waiting = {pair: _end(settings.question, *pair) for pair in unreviewed(connection)}
        closed = [pair for pair, end in waiting.items() if end <= night.cutoff]
        for pair in closed:
            _review_one(settings, predictions, night, pair)
        champion = open_registry(settings).champion()
        monitor(settings, predictions, champion, night)
        retraining = decide_retraining(predictions, champion, night, settings.review, settings.question.primary)
        figures["message"] = f"{retraining.decision}: {retraining.why}"
        if not closed and retraining.decision == "fine":
            next_end = min(waiting.values(), default=None)
            next_time = f"the next closes on {next_end:%Y-%m-%d}" if next_end else "none is waiting"
            raise NothingToDo(f"no horizon of a published night has closed by {night.name} unreviewed: {next_time}")
    return {"reviewed": closed, "decision": retraining.decision, "why": retraining.why}


def _review_one(settings: Settings, predictions: PredictionsStore, night: Night, closed: tuple[date, int]) -> None:
    day, horizon = closed
    with predictions.reading() as connection:
        require_whole_night(connection, day)
        rows = connection.execute(
            select(*(prediction.c[name] for name in ("customer_id", "churn_probability", "control", "risk_band")))
            .where(prediction.c.score_date == day, prediction.c.horizon_days == horizon)
            .order_by(prediction.c.customer_id)
        ).all()
    customers = np.array([row.customer_id for row in rows], dtype=object)
    probability = np.array([row.churn_probability for row in rows], dtype=np.float64)
    store, cutoff, question = open_store(settings), midnight(day), settings.question
    happened = realised(store, settings.state, question, Closed(cutoff, horizon, night.cutoff))
    treated = happened.treated | treated_by_the_source(
        open_source(settings), question.treatments, cutoff, _end(question, day, horizon)
    )
    values = segments_of(store, settings.state, settings.review.segments, cutoff)
    churn = happened.churn(customers.tolist())
    certain = np.isfinite(churn)
    whole = Reviewed(customers, probability, churn).select(certain)
    control = np.array([row.control for row in rows], dtype=object)[certain]
    bands = np.array([row.risk_band for row in rows], dtype=object)[certain]
    masks = _segments(whole.customers, treated, values) | _control_groups(control, bands)
    key, seed = {"score_date": day, "horizon_days": horizon}, settings.run.seed
    of_segments = [
        key | {"segment": segment, "member": member} | row
        for (segment, member), mask in masks.items()
        if mask.sum() >= LEAST_CUSTOMERS
        for row in whole.select(mask).metrics(REPLICATES_OF_A_SEGMENT, seed)
    ]
    metrics, now = whole.metrics(REPLICATES, seed), datetime.now(UTC)
    with predictions.writing() as connection:
        for table in (reviews, review_of_segment):
            connection.execute(delete(table).where(table.c.score_date == day, table.c.horizon_days == horizon))
        connection.execute(insert(reviews), [key | {"reviewed_at": now} | row for row in metrics])
        if of_segments:
            connection.execute(insert(review_of_segment), of_segments)


def _segments(
    customers: np.ndarray, treated: set[str], values_of: Mapping[str, Mapping[str, str]]
) -> dict[tuple[str, str], np.ndarray]:
    """Masks by segment and member: treated or not, where any was, and each attribute's most frequent values."""
    masks: dict[tuple[str, str], np.ndarray] = {}
    if treated:
        mask = np.array([customer in treated for customer in customers], dtype=bool)
        masks = {(TREATMENT, "treated"): mask, (TREATMENT, "not treated"): ~mask}
    for name, of_customer in values_of.items():
        values = np.array([of_customer.get(customer, "none") for customer in customers], dtype=object)
        members, counts = np.unique(values.astype(str), return_counts=True)
        most_frequent = sorted(zip(-counts, members, strict=True))[:MOST_MEMBERS]
        masks |= {(name, str(member)): values == member for _, member in most_frequent}
    return masks


def _control_groups(control: np.ndarray, bands: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Masks of the control group and of the others, of all customers and of each risk band; of nights without a group,
    none.
    """
    masks: dict[tuple[str, str], np.ndarray] = {}
    for member, value in (("control", 1), ("treated", 0)) if 1 in control else ():
        masks[CONTROL_GROUP, member] = control == value
        masks |= {(f"{CONTROL_GROUP}, {band}", member): (control == value) & (bands == band) for band in set(bands)}
    return masks


def _end(question: Question, day: date, horizon: int) -> datetime:
    """When the horizon of the scores of `day` closes."""
    return midnight(day) + (question.gap + horizon) * DAY
