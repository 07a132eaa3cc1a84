"""Many rows at once into a table of the predictions store: one prepared statement on SQLite, COPY on PostgreSQL."""

from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 20_000


def append(connection: Connection, table: Table, day: date, frame: "pd.DataFrame") -> None:
    """Inserts `frame`, whose columns are those of `table` but `score_date`, which is `day` in every row. Missing values
    become null. Rows in the order of the table's key go in fastest.
    """
    columns = [column.name for column in table.columns if column.name != "score_date"]
    kept = frame[columns]
    insert = _copy if connection.dialect.name == "postgresql" else _insert
    for first in range(0, len(kept), CHUNK):
        insert(connection, table, day, kept.iloc[first : first + CHUNK])


def _insert(connection: Connection, table: Table, day: date, frame: "pd.DataFrame") -> None:
    values = [column.astype(object).where(column.notna(), None).tolist() for _, column in frame.items()]
    names = ", ".join(["score_date", *map(str, frame.columns)])
    marks = ", ".join("?" * (1 + frame.shape[1]))
    rows = list(zip([day.isoformat()] * len(frame), *values, strict=True))
    connection.exec_driver_sql(f"insert into {table.name} ({names}) values ({marks})", rows)


def _copy(connection: Connection, table: Table, day: date, frame: "pd.DataFrame") -> None:
    import pyarrow as pa
    from pyarrow import csv

    # Strings are quoted and nulls are empty, which COPY tells apart; floats are written to their last digit.
    rows = pa.Table.from_pandas(frame.assign(score_date=day.isoformat()), preserve_index=False)
    text = BytesIO()
    csv.write_csv(rows, text, csv.WriteOptions(include_header=False))
    names = ", ".join(rows.column_names)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"copy {table.name} ({names}) from stdin (format csv)") as copy:
        copy.write(text.getvalue())
