"""The published nights as Parquet beside the database: `score_date=2017-12-04/predictions.parquet`, one file a night,
whole or not at all, which DuckDB, Spark and pandas read as one partitioned table.
"""

import shutil
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, text

from pipeline.runtime.paths import atomically

if TYPE_CHECKING:
    import pandas as pd

FILE = "predictions.parquet"
SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("horizon_days", pa.int64()),
        ("churn_probability", pa.float64()),
        ("risk_percentile", pa.float64()),
        ("risk_band", pa.string()),
        ("risk_change", pa.float64()),
        ("expected_purchases", pa.float64()),
        ("expected_spend", pa.float64()),
        ("reasons", pa.string()),
        ("days_since_last_event", pa.float64()),
        ("control", pa.int64()),
        *((name, pa.string()) for name in ("model_name", "model_version", "run_id", "question_digest")),
    ]
)


def export(folder: Path, day: date, scores: "pd.DataFrame") -> None:
    """Writes the night of `day`, whose rows and columns are those of `prediction_history` but `score_date`, which is
    the folder's name, and the instants of scoring: the same night gives the same bytes.
    """
    table = pa.Table.from_pandas(scores[SCHEMA.names], SCHEMA, preserve_index=False)
    _write(folder, day, table.replace_schema_metadata())  # what pandas knows of its columns the database does not


def export_again(folder: Path, connection: Connection, day: date) -> None:
    """Writes the night of `day` again, from the database, after its `risk_change` was corrected there."""
    _write(folder, day, _in_database(connection, day))


def is_exported(folder: Path, connection: Connection, day: date) -> bool:
    """Whether the file of the night of `day` can be read and holds the rows of the database."""
    keys = [("horizon_days", "ascending"), ("customer_id", "ascending")]
    try:
        table = pq.read_table(_folder(folder, day) / FILE, partitioning=None)
    except (pa.ArrowException, OSError):
        return False
    # A file of an earlier recur lacks the columns that were added since, which are null in the database.
    table = pa.concat_tables([SCHEMA.empty_table(), table], promote_options="default")
    return bool(table.schema.equals(SCHEMA) and table.sort_by(keys).equals(_in_database(connection, day).sort_by(keys)))


def remove(folder: Path, days: list[date]) -> None:
    """Removes these nights."""
    for day in days:
        shutil.rmtree(_folder(folder, day), ignore_errors=True)


def _in_database(connection: Connection, day: date) -> Any:
    columns = ", ".join(SCHEMA.names)
    query = f"select {columns} from prediction_history where score_date = :day order by horizon_days, customer_id"
    rows = connection.execute(text(query), {"day": day.isoformat()}).mappings().all()
    return pa.Table.from_pylist([dict(row) for row in rows], SCHEMA)


def _write(folder: Path, day: date, table: Any) -> None:
    with atomically(_folder(folder, day) / FILE) as file:
        pq.write_table(table, file, compression="zstd")


def _folder(folder: Path, day: date) -> Path:
    return folder / f"score_date={day.isoformat()}"
