"""Review: published predictions held against what really happened, once their horizon has closed."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from pipeline.errors import NothingToDo
from pipeline.nights import Night, midnight
from pipeline.record import recorded
from pipeline.serving import database
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import prediction as predictions
from pipeline.serving.tables import review as reviews
from pipeline.settings import Settings

REPLICATES = 1000


def review(settings: Settings, night: Night) -> dict[str, Any]:
    """Reviews every published score date and horizon that has closed (`score_date + horizon <= night.cutoff`) and has
    no review yet.

    A customer churned who has no event in `[cutoff, cutoff + horizon)`, as the events are known at `night.cutoff`.
    Gives `reviewed`, a list of (score date, horizon in days). Raises NothingToDo where there is none, saying when there
    will be.
    """
    with recorded(settings, "review", night) as figures:
        with database.reading(settings) as connection:
            unreviewed = waiting(connection)
        closed = [(day, horizon) for day, horizon in unreviewed if _end(day, horizon) <= night.cutoff]
        if not closed:
            following = min((_end(day, horizon) for day, horizon in unreviewed), default=None)
            next_time = f"the next closes on {following:%Y-%m-%d}" if following else "none is waiting"
            raise NothingToDo(f"no horizon of a published night has closed by {night.name} unreviewed: {next_time}")
        for day, horizon in closed:
            _review_one(settings, night, day, horizon)
        figures["reviewed"] = closed
    return figures


def waiting(connection: Connection) -> list[tuple[date, int]]:
    """What was published and never reviewed, in order; backfilled nights are not to be."""
    columns = (predictions.c.score_date, predictions.c.horizon_days)
    # A night is looked at one at a time: distinct over the whole history would read all of it.
    done = {(day, horizon) for day, horizon in connection.execute(select(reviews.c.score_date, reviews.c.horizon_days))}
    published = [
        (day, horizon)
        for score_date, first in _first_customers(connection)
        for day, horizon in connection.execute(
            select(*columns).where(predictions.c.customer_id == first, predictions.c.score_date == score_date)
        )
    ]
    return sorted(set(published) - done)


def _first_customers(connection: Connection) -> list[tuple[date, str]]:
    """For each published night, one customer: every customer is scored at every horizon of a night."""
    honest = nights.c.known_until.is_(None) | (nights.c.known_until <= nights.c.score_date)
    days = list(connection.scalars(select(nights.c.score_date).where(honest).order_by(nights.c.score_date)))
    any_customer = select(predictions.c.customer_id).limit(1)
    found = [(day, connection.scalar(any_customer.where(predictions.c.score_date == day))) for day in days]
    return [(day, customer) for day, customer in found if customer is not None]


def _review_one(settings: Settings, night: Night, day: date, horizon: int) -> None:
    from models.evidence.intervals import customer_weights, mean, score

    with database.reading(settings) as connection:
        rows = connection.execute(
            select(predictions.c.customer_id, predictions.c.churn_probability)
            .where(predictions.c.score_date == day, predictions.c.horizon_days == horizon)
            .order_by(predictions.c.customer_id)
        ).all()
    customers = np.array([customer for customer, _ in rows], dtype=object)
    probability = np.array([value for _, value in rows], dtype=np.float64)
    came = _customers_with_events(settings, night, midnight(day), _end(day, horizon))
    churn = np.array([customer not in came for customer in customers], dtype=np.float64)
    weights = customer_weights(customers, REPLICATES, settings.run.seed)
    outcome = {
        "base_rate": mean(churn, weights),
        "mean_predicted": mean(probability, weights),
        **score(churn, probability, weights),
    }
    now = datetime.now(UTC)
    with database.writing(settings) as connection:
        connection.execute(delete(reviews).where(reviews.c.score_date == day, reviews.c.horizon_days == horizon))
        connection.execute(
            insert(reviews),
            [
                {
                    "score_date": day,
                    "horizon_days": horizon,
                    "metric": metric,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "customers": len(rows),
                    "reviewed_at": now,
                }
                for metric, interval in outcome.items()
            ],
        )


def _customers_with_events(settings: Settings, night: Night, start: datetime, end: datetime) -> set[str]:
    """Who had an event in `[start, end)`, as known at the night's cutoff."""
    import ibis

    from features.examples import current
    from pipeline.engine import connect
    from pipeline.store.event_store import open_store

    events = current(open_store(settings).as_of(connect(settings), night.cutoff))
    moment = "timestamp('UTC', 6)"
    within = (events.event_time >= ibis.literal(start, moment)) & (events.event_time < ibis.literal(end, moment))
    return set(events.filter(within).select("customer_id").distinct().to_pyarrow()["customer_id"].to_pylist())


def _end(day: date, horizon: int) -> datetime:
    return midnight(day) + timedelta(days=horizon)
