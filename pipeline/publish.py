"""Publish: the scores of one night, with their rank, band and change, in one transaction.

Readers see the night before until the instant they see this one. Publishing a night again replaces it, its reviews too,
and changes nothing else but the `risk_change` of the night after it.
"""

from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from pipeline import paths
from pipeline.errors import NothingToDo, RecurError
from pipeline.nights import Night
from pipeline.record import recorded
from pipeline.serving import database
from pipeline.serving.bulk import append
from pipeline.serving.tables import band as bands
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import prediction as predictions
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

OF_THE_NIGHT = ("model_name", "model_version", "run_id", "question_digest")


def publish(settings: Settings, night: Night) -> dict[str, Any]:
    """Publishes what `score` left for `night`; gives rows_scored and rows_published. Raises NothingToDo where the night
    has no scores, and RecurError where they are not what one model said of one question.
    """
    with recorded(settings, "publish", night) as figures:
        from datetime import UTC, datetime

        path = paths.scored(settings, night)
        if not path.exists():
            raise NothingToDo(f"{night.name} has no scores to publish: there was no champion to make them")
        scores = ranked(_read(path), settings.serving.high_share, settings.serving.medium_share)
        with database.writing(settings) as connection:
            scores["risk_change"] = _change(connection, _neighbour(connection, night.score_date, earlier=True), scores)
            connection.execute(delete(nights).where(nights.c.score_date == night.score_date))
            connection.execute(
                insert(nights).values(
                    score_date=night.score_date,
                    primary_horizon=settings.question.primary,
                    customers=int(scores["customer_id"].nunique()),
                    scored_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
                    **{column: str(scores[column].iloc[0]) for column in OF_THE_NIGHT},
                )
            )
            connection.execute(insert(bands), _bands(night.score_date, scores))
            append(connection, predictions, night.score_date, scores)
            _correct_the_night_after(connection, night.score_date)
        figures |= {"rows_scored": int(scores["customer_id"].nunique()), "rows_published": len(scores)}
    return figures


def ranked(scores: "pd.DataFrame", high_share: float, medium_share: float) -> "pd.DataFrame":
    """`scores` with `risk_percentile` in (0, 100] and `risk_band`, for each horizon apart.

    Customers stand in the order of their churn probability, equals in that of their silence, then of their id, so that
    every customer has a place of their own: `risk_percentile` is 100 times the place from below over the number of
    customers, and the bands hold `ceil(high_share * n)`, `ceil((high_share + medium_share) * n)` less those, and the
    rest.
    """
    import numpy as np

    ordered = scores.sort_values(
        ["horizon_days", "churn_probability", "days_since_last_event", "customer_id"], ignore_index=True
    )
    by_horizon = ordered.groupby("horizon_days")
    place = by_horizon.cumcount() + 1
    count = by_horizon["customer_id"].transform("size")
    ordered["risk_percentile"] = 100.0 * place / count
    from_above = count - place
    # The 1e-9 keeps shares such as .1 * 30 from being one more than they say, as floats are.
    high = np.ceil(high_share * count - 1e-9)
    medium = np.ceil(min(high_share + medium_share, 1.0) * count - 1e-9)
    ordered["risk_band"] = np.where(from_above < high, "high", np.where(from_above < medium, "medium", "low"))
    return ordered.sort_values(["horizon_days", "customer_id"], ignore_index=True)


def _read(path: Any) -> "pd.DataFrame":
    import pandas as pd

    scores = pd.read_parquet(path)
    if scores.empty:
        raise NothingToDo(f"{path.stem} has no customer who was eligible, so there is nothing to publish")
    for column in OF_THE_NIGHT:
        if (values := scores[column].nunique(dropna=False)) != 1:
            raise RecurError(f"{path} holds {values} values of {column}, and a night has one: run `recur score` again")
    if scores.duplicated(["horizon_days", "customer_id"]).any():
        raise RecurError(f"{path} scores a customer twice at one horizon: run `recur score` again")
    wrong = ~scores["churn_probability"].between(0, 1)
    if wrong.any():
        raise RecurError(f"{path} holds {int(wrong.sum())} churn probabilities that are none: train the model again")
    return scores


def _neighbour(connection: Connection, day: date, earlier: bool) -> date | None:
    """The published night next to `day`, before or after it."""
    column = nights.c.score_date
    nearest = func.max(column) if earlier else func.min(column)
    return connection.scalar(select(nearest).where(column < day if earlier else column > day))


def _change(connection: Connection, before: date | None, scores: "pd.DataFrame") -> "pd.Series[float]":
    """Each churn probability minus that of the night `before`; null for a customer who is not in it."""
    import pandas as pd

    keys = ["horizon_days", "customer_id"]
    values = (predictions.c.horizon_days, predictions.c.customer_id, predictions.c.churn_probability)
    rows = connection.execute(select(*values).where(predictions.c.score_date == before)).tuples().all()
    if not rows:
        return pd.Series(float("nan"), index=scores.index)
    columns = zip(*rows, strict=True)  # pandas takes rows of SQLAlchemy ten times slower
    was = pd.DataFrame(dict(zip([*keys, "was"], columns, strict=True)))
    joined = scores[[*keys, "churn_probability"]].merge(was, on=keys, how="left", validate="one_to_one")
    return (joined["churn_probability"] - joined["was"]).set_axis(scores.index)


def _bands(day: date, scores: "pd.DataFrame") -> list[dict[str, Any]]:
    """A row a horizon and risk band: how many customers, and their churn probabilities' mean and ends."""
    by_band = scores.groupby(["horizon_days", "risk_band"])["churn_probability"]
    counted = by_band.agg(
        customers="size", mean_probability="mean", lowest_probability="min", highest_probability="max"
    )
    return [{"score_date": day, **row} for row in counted.reset_index().to_dict("records")]


def _correct_the_night_after(connection: Connection, day: date) -> None:
    """A night that is published late, or again, is the one that its successor's changes are counted from."""
    after = _neighbour(connection, day, earlier=False)
    if after is None:
        return
    now = predictions.alias("now")
    of_the_same = (now.c.horizon_days == predictions.c.horizon_days) & (now.c.customer_id == predictions.c.customer_id)
    was = select(now.c.churn_probability).where(now.c.score_date == day, of_the_same).scalar_subquery()
    connection.execute(
        update(predictions)
        .where(predictions.c.score_date == after)
        .values(risk_change=predictions.c.churn_probability - was)
    )
