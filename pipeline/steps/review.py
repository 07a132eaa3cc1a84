"""Review: published predictions held against what really happened, once their horizon has closed, whole and in parts;
what can be said before; and what is to be done.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from pipeline.config.settings import Settings
from pipeline.monitoring.realised import Outcomes, outcomes
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import Night, midnight
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.serving.tables import band as bands
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import prediction as predictions
from pipeline.serving.tables import review as reviews
from pipeline.serving.tables import review_of_segment

if TYPE_CHECKING:
    from models.evaluation.intervals import Interval

REPLICATES, OF_A_SEGMENT = 1000, 300
LEAST_CUSTOMERS, MOST_MEMBERS = 30, 12
"""Parts of fewer customers tell nothing; of an attribute's values, so many of the most frequent are shown apart."""
TREATMENT = "treatment"


def review(settings: Settings, night: Night) -> dict[str, Any]:
    """Reviews every published score date and horizon that has closed (`score_date + horizon <= night.cutoff`) and has
    no review yet; watches the night's own scores; decides what is to be done.

    Who churned is what the question says, by the events as they are known at `night.cutoff`.
    Gives `reviewed`, a list of (score date, horizon in days), `decision` and `why`. Raises NothingToDo where nothing
    has closed and nothing is to be done, saying when the next will close.
    """
    from pipeline.monitoring.drift import watch
    from pipeline.monitoring.retraining import decide_upkeep

    store = open_predictions(settings.predictions, settings.root)
    with recorded(store, settings.state, "review", night) as figures:
        with store.reading() as connection:
            unreviewed = waiting(connection)
        closed = [(day, horizon) for day, horizon in unreviewed if _end(settings, day, horizon) <= night.cutoff]
        for day, horizon in closed:
            _review_one(settings, store, night, (day, horizon))
        watch(settings, night)
        upkeep = decide_upkeep(settings, night)
        figures["message"] = f"{upkeep.decision}: {upkeep.why}"
        if not closed and upkeep.decision == "fine":
            following = min((_end(settings, day, horizon) for day, horizon in unreviewed), default=None)
            next_time = f"the next closes on {following:%Y-%m-%d}" if following else "none is waiting"
            raise NothingToDo(f"no horizon of a published night has closed by {night.name} unreviewed: {next_time}")
        figures |= {"reviewed": closed, "decision": upkeep.decision, "why": upkeep.why}
    return {name: figures[name] for name in ("reviewed", "decision", "why")}


def waiting(connection: Connection) -> list[tuple[date, int]]:
    """What was published and never reviewed, in order; backfilled nights are not to be."""
    honest = nights.c.known_until.is_(None) | (nights.c.known_until <= nights.c.score_date)
    # Told from the risk bands, a few rows a night: of predictions only those of the nights that wait are looked at.
    of_bands = select(bands.c.score_date, bands.c.horizon_days).join_from(bands, nights).where(honest).distinct()
    done = select(reviews.c.score_date, reviews.c.horizon_days).distinct()
    left = sorted({(day, horizon) for day, horizon in connection.execute(of_bands.except_(done))})
    any_customer = select(predictions.c.customer_id).limit(1)
    empty = {
        day
        for day in {day for day, _ in left}
        if connection.scalar(any_customer.where(predictions.c.score_date == day)) is None
    }
    return [(day, horizon) for day, horizon in left if day not in empty]


def _review_one(settings: Settings, store: PredictionsStore, night: Night, closed: tuple[date, int]) -> None:
    day, horizon = closed
    with store.reading() as connection:
        rows = connection.execute(
            select(predictions.c.customer_id, predictions.c.churn_probability)
            .where(predictions.c.score_date == day, predictions.c.horizon_days == horizon)
            .order_by(predictions.c.customer_id)
        ).all()
    customers = np.array([customer for customer, _ in rows], dtype=object)
    probability = np.array([value for _, value in rows], dtype=np.float64)
    happened = outcomes(settings, night, midnight(day), _end(settings, day, horizon))
    churn = happened.churn(customers, settings.question)
    told = np.isfinite(churn)
    customers, probability, churn = customers[told], probability[told], churn[told]
    key = {"score_date": day, "horizon_days": horizon}
    whole = _rows(_measured(customers, churn, probability, REPLICATES, settings.run.seed), len(customers))
    parts = [
        key | {"segment": segment, "member": member} | row
        for (segment, member), part in _parts(settings, customers, happened).items()
        for row in _rows(
            _measured(customers[part], churn[part], probability[part], OF_A_SEGMENT, settings.run.seed), int(part.sum())
        )
    ]
    now = datetime.now(UTC)
    with store.writing() as connection:
        for table in (reviews, review_of_segment):
            connection.execute(delete(table).where(table.c.score_date == day, table.c.horizon_days == horizon))
        connection.execute(insert(reviews), [key | {"reviewed_at": now} | row for row in whole])
        if parts:
            connection.execute(insert(review_of_segment), parts)


def _measured(
    customers: np.ndarray, churn: np.ndarray, probability: np.ndarray, replicates: int, seed: int
) -> "dict[str, Interval]":
    from models.evaluation.intervals import customer_weights, mean, score

    weights = customer_weights(customers, replicates, seed)
    return {
        "base_rate": mean(churn, weights),
        "mean_predicted": mean(probability, weights),
        **score(churn, probability, weights),
    }


def _rows(measured: "Mapping[str, Interval]", customers: int) -> list[dict[str, Any]]:
    return [
        {"metric": metric, "value": one.value, "low": one.low, "high": one.high, "customers": customers}
        for metric, one in measured.items()
    ]


def _parts(settings: Settings, customers: np.ndarray, happened: Outcomes) -> dict[tuple[str, str], np.ndarray]:
    """The parts of a night's customers, each a mask: treated or not, where any was, and the segments."""
    found: dict[tuple[str, str], np.ndarray] = {}
    if happened.treated:
        treated = np.array([customer in happened.treated for customer in customers], dtype=bool)
        found = {(TREATMENT, "treated"): treated, (TREATMENT, "not treated"): ~treated}
    for name in settings.review.segments:
        values = np.array([happened.segments[name].get(customer, "none") for customer in customers], dtype=object)
        members, counts = np.unique(values.astype(str), return_counts=True)
        most = sorted(zip(-counts, members, strict=True))[:MOST_MEMBERS]
        found |= {(name, str(member)): values == member for _, member in most}
    return {part: mask for part, mask in found.items() if mask.sum() >= LEAST_CUSTOMERS}


def _end(settings: Settings, day: date, horizon: int) -> datetime:
    return midnight(day) + timedelta(days=settings.question.gap + horizon)
