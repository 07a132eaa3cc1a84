"""Publish: the scores of one night, with their rank, band and change, in one transaction.

Readers see the night before until the instant they see this one. Publishing a night again replaces it, its reviews too,
and changes nothing else but the `risk_change` of the night after it. A night that is published when a later one is
loaded already counts as backfilled, and is never reviewed.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update

from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.described import was_written, whole
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import Night
from pipeline.serving import exports
from pipeline.serving.beside import number_publication
from pipeline.serving.bulk import append
from pipeline.serving.control_group import control_group
from pipeline.serving.database import open_predictions
from pipeline.serving.night_digests import note_digest, note_digests, require_whole_night
from pipeline.serving.night_tables import changes_since, neighbour, remove_old_predictions
from pipeline.serving.tables import band, prediction
from pipeline.serving.tables import night as nights

if TYPE_CHECKING:
    import pandas as pd

OF_THE_NIGHT = ("model_name", "model_version", "run_id", "question_digest")


def publish(settings: Settings, night: Night) -> dict[str, Any]:
    """Publishes the scores of `night`; gives rows_scored and rows_published. Raises NothingToDo where the night has no
    scores, and RecurError where they are not of one model and one question.
    """
    predictions, folder = open_predictions(settings.predictions, settings.root), settings.published
    with recorded(predictions, settings.state, "publish", night) as figures:
        path = settings.state.scored(night)
        if not was_written(path.parent, path.name):
            raise NothingToDo(f"{night.name} has no scores to publish: there was no champion to make them")
        whole(path.parent, path.name, f"score the night again with `recur score --cutoff {night.name}`")
        scores = ranked(_read(path), settings.serving.high_share, settings.serving.medium_share)
        scores["control"] = control_group(scores["customer_id"], settings.serving.control_share, settings.run.seed)
        customers = int(scores["customer_id"].nunique())
        with predictions.writing() as connection:
            before = neighbour(connection, night.score_date, earlier=True)
            if before is not None:
                require_whole_night(connection, before)
            scores["risk_change"] = _change(connection, before, scores)
            for table in (prediction, nights):
                connection.execute(delete(table).where(table.c.score_date == night.score_date))
            connection.execute(
                insert(nights).values(
                    score_date=night.score_date,
                    primary_horizon=settings.question.primary,
                    customers=customers,
                    scored_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
                    known_until=max(loaded_nights(settings.events), default=None),
                    **{column: str(scores[column].iloc[0]) for column in OF_THE_NIGHT},
                )
            )
            connection.execute(insert(band), _bands(night.score_date, scores))
            append(connection, prediction, night.score_date, scores)
            after = _correct_the_night_after(connection, night.score_date)
            note_digest(connection, night.score_date, scores)
            if after is not None:
                note_digests(connection, [after])
            number_publication(connection)
            removed = remove_old_predictions(connection, settings.serving.nights_kept)
            if folder is not None:  # before the commit: a night that is seen as published has its file
                exports.export(folder, night.score_date, scores)
                if after is not None:
                    exports.export_again(folder, connection, after)
        predictions.note_published()
        if folder is not None:
            exports.remove(folder, removed)
        figures |= {"rows_scored": customers, "rows_published": len(scores)}
    return figures


def ranked(scores: "pd.DataFrame", high_share: float, medium_share: float) -> "pd.DataFrame":
    """`scores` with `risk_percentile` in (0, 100] and `risk_band`, for each horizon separately.

    Customers are ordered by churn probability, ties by days since the last event, then by id, so no two share a rank.
    `risk_percentile` is 100 times the rank from below over the number of customers n; the bands hold
    `ceil(high_share * n)`, `ceil((high_share + medium_share) * n)` less those, and the rest, where that splits no equal
    risks: customers of one churn probability share the band of the middle one of them.
    """
    import numpy as np

    by_customer = scores.sort_values("customer_id", kind="stable", ignore_index=True)  # once: text sorts slowly
    horizon, risk, recency = (
        by_customer[column].to_numpy() for column in ("horizon_days", "churn_probability", "days_since_last_event")
    )
    order = np.lexsort((recency, risk, horizon))
    _, first, size = np.unique(horizon[order], return_index=True, return_counts=True)
    rank, count = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(first, size) + 1
    count[order] = np.repeat(size, size)
    # Of equal risks the mean rank: none stands out among them.
    differs = (np.diff(risk[order], prepend=np.nan) != 0) | (np.diff(horizon[order], prepend=0) != 0)
    same = np.empty(len(order), np.int64)
    same[order] = np.cumsum(differs)
    from_above = count - (np.bincount(same, rank) / np.maximum(np.bincount(same), 1))[same]
    # 1e-9: in floats (.1 + .2) * 10 is a little more than 3, and its ceiling would be 4.
    high = np.ceil(high_share * count - 1e-9)
    medium = np.ceil(min(high_share + medium_share, 1.0) * count - 1e-9)
    band = np.where(from_above < high, "high", np.where(from_above < medium, "medium", "low"))
    by_customer["risk_percentile"], by_customer["risk_band"] = 100.0 * rank / count, band
    return by_customer.iloc[np.argsort(horizon, kind="stable")].reset_index(drop=True)


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    scores = pd.read_parquet(path)
    if "curve" not in scores:  # scored by an earlier recur
        scores["curve"] = None
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


def _change(connection: Connection, before: date | None, scores: "pd.DataFrame") -> "pd.Series[float]":
    """Each churn probability minus that of the night `before`; null for a customer who is not in it."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    change = pd.Series(np.nan, index=scores.index)
    for horizon, rows in scores.groupby("horizon_days")[["customer_id", "churn_probability"]]:
        customers, probability = pa.array(rows["customer_id"]), rows["churn_probability"].to_numpy()
        change.loc[rows.index] = changes_since(connection, before, int(str(horizon)), customers, probability)
    return change


def _bands(day: date, scores: "pd.DataFrame") -> list[dict[str, Any]]:
    """A row a horizon and risk band: how many customers, and their churn probabilities' mean and ends."""
    by_band = scores.groupby(["horizon_days", "risk_band"])["churn_probability"]
    counted = by_band.agg(
        customers="size", mean_probability="mean", lowest_probability="min", highest_probability="max"
    )
    return [{"score_date": day, **row} for row in counted.reset_index().to_dict("records")]


def _correct_the_night_after(connection: Connection, day: date) -> date | None:
    """The changes of the night after `day` are counted from `day`, so a night that is published late, or again,
    corrects them. Gives that next night, where there is one.
    """
    after = neighbour(connection, day, earlier=False)
    if after is None:
        return None
    require_whole_night(connection, after)
    now = prediction.alias("now")
    of_the_same = (now.c.horizon_days == prediction.c.horizon_days) & (now.c.customer_id == prediction.c.customer_id)
    was = select(now.c.churn_probability).where(now.c.score_date == day, of_the_same).scalar_subquery()
    connection.execute(
        update(prediction)
        .where(prediction.c.score_date == after)
        .values(risk_change=prediction.c.churn_probability - was)
    )
    return after
