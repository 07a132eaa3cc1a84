"""A digest of each night's predictions, written with them, so that a bit that is flipped in an SQLite file is noticed
before anything is made of them. PostgreSQL checks its own pages, where its administrator has it do so.

A digest bears its form: `2:` and the SHA-256 of the columns as bytes. An earlier recur's has none and is that of the
rows as JSON; it is verified as it was made.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Text, cast, select, update

from pipeline.runtime.sealed import DamagedError
from pipeline.serving.tables import night, prediction

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORM = "2:"
AT_ONCE = 2_000  # rows: a digest rests on it
NAMES = [column.name for column in prediction.columns if column.name != "score_date"]


def note_digest(connection: Connection, day: date, written: "pd.DataFrame") -> None:
    """The predictions of that night are from now on to be the rows of `written`, in the order of their key."""
    if connection.dialect.name == "sqlite":
        _note(connection, day, digest_of_frame(written))


def note_digests(connection: Connection, days: Iterable[date]) -> None:
    """The predictions of these nights are from now on to be what they are in this transaction."""
    if connection.dialect.name == "sqlite":
        for day in days:
            _note(connection, day, digest_in(connection, day))


def is_whole(connection: Connection, day: date) -> bool:
    """Whether the predictions of that night are what was written, as far as was noted."""
    noted = connection.scalar(select(night.c.digest).where(night.c.score_date == day))
    if noted is None:
        return True
    return bool(noted == (digest_in if noted.startswith(FORM) else _digest_as_json)(connection, day))


def require_whole_night(connection: Connection, day: date) -> None:
    """Raises DamagedError where the predictions of that night are not what was written."""
    if not is_whole(connection, day):
        raise DamagedError(
            f"{connection.engine.url.database}: its predictions of the night {day} are not what was published: publish "
            f"them again with `recur score --cutoff {day}`, or put the file back from a backup"
        )


def digest_of_frame(written: "pd.DataFrame") -> str:
    """The digest of the rows of `written`, in the order of their key, once they are in a database."""
    import pyarrow as pa

    chunks = (written.iloc[first : first + AT_ONCE] for first in range(0, len(written), AT_ONCE))
    # What is missing is null in the database.
    return _digest([pa.array(rows[name], from_pandas=True) for name in NAMES] for rows in chunks)


def digest_in(connection: Connection, day: date) -> str | None:
    """The digest of the night's rows in a database: SQLite and PostgreSQL give the same. None where a value is not of
    its column's kind, as damage alone leaves it.
    """
    import pyarrow as pa

    columns = prediction.c
    # PostgreSQL would order by the language of the database, and take JSON apart.
    customer = columns.customer_id if connection.dialect.name == "sqlite" else columns.customer_id.collate("C")
    values = [cast(columns[name], Text) if name == "curve" else columns[name] for name in NAMES]
    of_the_night = select(*values).where(columns.score_date == day).order_by(columns.horizon_days, customer)
    # Column by column: to transpose with zip makes an iterator a row, which the garbage collector then visits.
    columns_of = [itemgetter(place) for place in range(len(NAMES))]
    try:
        return _digest(
            [pa.array(list(map(column, rows))) for column in columns_of] for rows in _chunks(connection, of_the_night)
        )
    except (pa.ArrowException, TypeError):
        return None


def _digest(chunks: Iterable[Iterable["pa.Array"]]) -> str:
    """The digest of the columns `NAMES`, in chunks of `AT_ONCE` rows. Of each chunk are hashed the columns that have a
    value: their name and number of rows; a bit a row, set where the value is missing; and the values, little-endian: of
    numbers as 64-bit floats, of texts their lengths in UTF-8, as 32-bit integers, and their bytes; 0 and the empty text
    where missing. So a column that a later recur adds changes nothing. Raises TypeError where one is neither of numbers
    nor of texts.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.sha256()
    for chunk in chunks:
        for name, column in zip(NAMES, chunk, strict=True):
            if column.null_count == len(column):
                continue
            digest.update(f"{name} {len(column)}\n".encode())
            digest.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False), bitorder="little").tobytes())
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                numbers = column.cast(pa.float64()).fill_null(0).to_numpy()
                digest.update((numbers + 0.0).astype("<f8").tobytes())  # -0.0 is 0 in SQLite
            elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                texts = column.cast(pa.string()).fill_null("")
                digest.update(pc.binary_length(texts).to_numpy().astype("<i4").tobytes())
                digest.update(pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), "")[0].as_buffer())
            else:
                raise TypeError(f"{name} holds values of {column.type}")
    return FORM + digest.hexdigest()


def _note(connection: Connection, day: date, digest: str | None) -> None:
    connection.execute(update(night).where(night.c.score_date == day).values(digest=digest))


def _chunks(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows as the driver has them."""
    cursor = connection.execute(statement).cursor
    while rows := cursor.fetchmany(AT_ONCE):
        yield rows


def _digest_as_json(connection: Connection, day: date) -> str:
    """As an earlier recur made it. Nulls at a row's end are left out, and so is a column that was added last."""
    columns, digest = prediction.c, hashlib.sha256()
    of_the_night = select(prediction).where(columns.score_date == day)
    for rows in _chunks(connection, of_the_night.order_by(columns.horizon_days, columns.customer_id)):
        digest.update(json.dumps([_without_last_nulls(row) for row in rows]).encode())
    return digest.hexdigest()


def _without_last_nulls(row: tuple[Any, ...]) -> tuple[Any, ...]:
    while row and row[-1] is None:
        row = row[:-1]
    return row
