"""Many rows at once into and out of a table of the predictions store, by its driver: SQLAlchemy's rows cost more than
the database's work. `PredictionsStore` turns the driver's errors into one line.
"""

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Table

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 20_000


def append(connection: Connection, table: Table, day: date, frame: "pd.DataFrame") -> None:
    """Inserts `frame`, whose columns are those of `table` but `score_date`, which is `day` in every row: one prepared
    statement on SQLite, COPY on PostgreSQL. Missing values become null. Rows in the order of the table's key go in
    fastest.
    """
    columns = [column.name for column in table.columns if column.name != "score_date"]
    dated = frame[columns].assign(score_date=day.isoformat())
    write = _copy if connection.dialect.name == "postgresql" else _insert
    write(
        connection.connection.driver_connection,
        table.name,
        list(dated.columns),
        (dated.iloc[first : first + CHUNK] for first in range(0, len(dated), CHUNK)),
    )


def read(connection: Connection, statement: Select[Any]) -> "pd.DataFrame":
    """The rows of `statement`: texts and numbers as the driver gives them; dates and instants vary with the driver."""
    import pandas as pd

    result = connection.execute(statement)
    return pd.DataFrame(result.cursor.fetchall(), columns=list(result.keys()))


def _insert(driver: Any, table: str, names: list[str], chunks: "Iterator[pd.DataFrame]") -> None:
    statement = f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})"
    for chunk in chunks:
        values = [column.astype(object).where(column.notna(), None).tolist() for _, column in chunk.items()]
        driver.executemany(statement, zip(*values, strict=True))  # an iterator: no tuple is kept


def _copy(driver: Any, table: str, names: list[str], chunks: "Iterator[pd.DataFrame]") -> None:
    import pyarrow as pa
    from pyarrow import csv

    # Strings are quoted and nulls are empty, which COPY tells apart; floats are written to their last digit.
    options = csv.WriteOptions(include_header=False)
    with driver.cursor() as cursor, cursor.copy(f"copy {table} ({', '.join(names)}) from stdin (format csv)") as copy:
        for chunk in chunks:  # the server writes one while the next becomes text
            text = BytesIO()
            csv.write_csv(pa.Table.from_pandas(chunk, preserve_index=False), text, options)
            copy.write(text.getvalue())
