"""Published nights in the database: which is next to another, which wait for a review, which need no longer be kept."""

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select, update

from features.arrays import Floats
from pipeline.serving.bulk import read
from pipeline.serving.tables import band, night, prediction, review

if TYPE_CHECKING:
    import pyarrow as pa


def neighbour(connection: Connection, day: date, earlier: bool) -> date | None:
    """The published night next to `day`, before or after it."""
    column = night.c.score_date
    nearest = func.max(column) if earlier else func.min(column)
    return connection.scalar(select(nearest).where(column < day if earlier else column > day))


def changes_since(
    connection: Connection, before: date | None, horizon: int, customers: "pa.Array", probability: Floats
) -> Floats:
    """[customers]: each churn probability minus that of the night `before`; NaN for a customer who is not in it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = prediction.c
    of_then = (columns.score_date == before) & (columns.horizon_days == horizon)
    was = read(connection, select(columns.customer_id, columns.churn_probability).where(of_then))
    row = pc.index_in(customers, pa.array(was["customer_id"], pa.string()))
    then: Floats = was["churn_probability"].reindex(row.to_pandas()).to_numpy(np.float64)
    return probability - then


def unreviewed(connection: Connection) -> list[tuple[date, int]]:
    """The score dates and horizons that wait for a review, in order. Backfilled nights are never reviewed."""
    not_backfilled = night.c.known_until.is_(None) | (night.c.known_until <= night.c.score_date)
    # Risk bands are a few rows a night; predictions are read only of the nights that they name.
    published = select(band.c.score_date, band.c.horizon_days).join_from(band, night).where(not_backfilled).distinct()
    reviewed = select(review.c.score_date, review.c.horizon_days).distinct()
    waiting = sorted({(day, horizon) for day, horizon in connection.execute(published.except_(reviewed))})
    any_customer = select(prediction.c.customer_id).limit(1)
    empty = {
        day
        for day in {day for day, _ in waiting}
        if connection.scalar(any_customer.where(prediction.c.score_date == day)) is None
    }
    return [(day, horizon) for day, horizon in waiting if day not in empty]


def remove_old_predictions(connection: Connection, nights_kept: int | None) -> list[date]:
    """Removes the predictions of the nights before the last `nights_kept` that are reviewed at every horizon; returns
    their score dates. The nights themselves stay, with their reviews and risk bands.
    """
    if nights_kept is None:
        return []
    newest_first = select(night.c.score_date).order_by(night.c.score_date.desc())
    waiting = {day for day, _ in unreviewed(connection)}
    removed = [day for day in connection.scalars(newest_first.offset(nights_kept)) if day not in waiting]
    for day in removed:
        connection.execute(delete(prediction).where(prediction.c.score_date == day))
        connection.execute(update(night).where(night.c.score_date == day).values(digest=None))
    return removed
