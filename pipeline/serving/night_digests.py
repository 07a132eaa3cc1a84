"""A digest of each night's predictions, written with them, so that a bit that is flipped in an SQLite file is noticed
before anything is made of them. PostgreSQL checks its own pages, where its administrator has it do so.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Connection, select, update

from pipeline.runtime.sealed import DamagedError
from pipeline.serving.tables import night, prediction

AT_ONCE = 20_000  # rows


def note_digests(connection: Connection, days: Iterable[date]) -> None:
    """The predictions of these nights are from now on to be what they are in this transaction."""
    if connection.dialect.name == "sqlite":
        for day in days:
            connection.execute(update(night).where(night.c.score_date == day).values(digest=_digest(connection, day)))


def is_whole(connection: Connection, day: date) -> bool:
    """Whether the predictions of that night are what was written, as far as was noted."""
    noted = connection.scalar(select(night.c.digest).where(night.c.score_date == day))
    return noted is None or noted == _digest(connection, day)


def require_whole_night(connection: Connection, day: date) -> None:
    """Raises DamagedError where the predictions of that night are not what was written."""
    if not is_whole(connection, day):
        raise DamagedError(
            f"{connection.engine.url.database}: its predictions of the night {day} are not what was published: publish "
            f"them again with `recur score --cutoff {day}`, or put the file back from a backup"
        )


def _digest(connection: Connection, day: date) -> str:
    """The SHA-256 of the night's rows in the order of their key, every number to its last digit. Nulls at a row's end
    are left out, and so is a column that a later recur adds last.
    """
    columns, digest = prediction.c, hashlib.sha256()
    of_the_night = select(prediction).where(columns.score_date == day)
    cursor = connection.execute(of_the_night.order_by(columns.horizon_days, columns.customer_id)).cursor
    while rows := cursor.fetchmany(AT_ONCE):
        digest.update(json.dumps([_without_last_nulls(row) for row in rows]).encode())
    return digest.hexdigest()


def _without_last_nulls(row: tuple[Any, ...]) -> tuple[Any, ...]:
    while row and row[-1] is None:
        row = row[:-1]
    return row
