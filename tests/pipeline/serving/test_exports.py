"""Published nights as files: what the database holds, whole, the same bytes again, and without a forgotten customer."""

from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert

from pipeline.cli.forget import forget
from pipeline.config.sections import Serving
from pipeline.config.settings import Settings
from pipeline.serving import database, exports
from pipeline.serving.tables import review
from pipeline.steps.publish import publish
from tests.support.published import predictions_of, query
from tests.support.worlds.published_world import FIRST, leave_scores, night_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, serving=Serving(nights_kept=2))


def published(settings: Settings, *numbers: int) -> None:
    for number in numbers:
        leave_scores(settings, number, 30, (28, 56))
        publish(settings, night_of(number))


def in_files(settings: Settings) -> pd.DataFrame:
    """Every published night by way of DuckDB, in the order of its key."""
    columns = f"score_date::varchar as score_date, {', '.join(exports.SCHEMA.names)}"
    files = f"{settings.published}/*/*.parquet"
    sql = f"select {columns} from read_parquet('{files}', hive_partitioning = true) order by 1, 3, 2"
    return duckdb.sql(sql).df()


def in_the_database(settings: Settings) -> pd.DataFrame:
    columns = f"score_date, {', '.join(exports.SCHEMA.names)}"
    names, rows = query(settings, f"select {columns} from prediction_history order by 1, 3, 2")
    return pd.DataFrame(rows, columns=names)


def test_the_files_hold_what_the_database_holds_late_nights_too(settings: Settings) -> None:
    published(settings, 0, 2, 1)
    assert in_files(settings)["score_date"].nunique() == 3
    pd.testing.assert_frame_equal(in_files(settings), in_the_database(settings), check_dtype=False)
    read_by_pandas = pd.read_parquet(settings.published)
    assert set(read_by_pandas["score_date"].astype(str)) == {"2024-01-01", "2024-01-02", "2024-01-03"}


def test_the_same_night_gives_the_same_bytes(settings: Settings) -> None:
    published(settings, 0, 1)
    files = sorted(settings.published.rglob("*.parquet"))
    before = [file.read_bytes() for file in files]
    published(settings, 1)
    assert [file.read_bytes() for file in files] == before


def test_a_forgotten_customer_leaves_the_files(settings: Settings) -> None:
    published(settings, 0, 1)
    assert forget(settings, "c0000007")["published"] == 4
    assert forget(settings, "c0000007")["published"] == 0
    assert "c0000007" not in set(in_files(settings)["customer_id"])
    assert len(in_files(settings)) == 2 * 2 * 29


def test_only_reviewed_nights_are_let_go_and_their_reviews_stay(settings: Settings) -> None:
    published(settings, 0, 1, 2)
    assert in_files(settings)["score_date"].nunique() == 3  # nothing is reviewed yet
    with predictions_of(settings).writing() as connection:
        one = {"score_date": night_of(0).score_date, "metric": "log_loss", "value": 0.3, "customers": 30}
        rows = [{**one, "horizon_days": horizon, "reviewed_at": FIRST} for horizon in (28, 56)]
        connection.execute(insert(review), rows)
    published(settings, 3)
    nights = [(f"2024-01-0{day}",) for day in (2, 3, 4)]
    assert query(settings, "select distinct score_date from prediction_history order by 1")[1] == nights
    assert sorted(set(in_files(settings)["score_date"])) == [day for (day,) in nights]
    assert query(settings, "select count(*) from outcome_review")[1] == [(2,)]
    assert query(settings, "select count(distinct score_date) from risk_bands")[1] == [(4,)]
    assert predictions_of(settings).published_nights()[0] == date(2024, 1, 1)


def test_without_a_folder_there_are_no_files(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, serving=Serving(parquet=""))
    published(settings, 0, 1)
    assert settings.published is None
    assert not list((settings.var).glob("published"))


def test_a_store_of_an_earlier_recur_gains_the_columns_it_lacks(tmp_path: Path) -> None:
    import sqlite3

    settings = Settings(root=tmp_path)
    published(settings, 0)
    with sqlite3.connect(settings.var / "predictions.db") as connection:
        for view in ("churn_predictions", "prediction_history"):
            connection.execute(f"drop view {view}")
        connection.execute("alter table night drop column known_until")
        connection.execute("alter table prediction drop column control")
        connection.execute("update schema_version set digest = 'an earlier one'")
    database._engines.clear()
    published(settings, 1)
    assert query(settings, "select count(*), max(backfilled), count(control) from prediction_history")[1] == [
        (120, 0, 0)
    ]
    file = settings.var / "published" / f"score_date={night_of(0).score_date}" / exports.FILE
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns("control"), file)
    with predictions_of(settings).reading() as connection:
        assert exports.is_exported(settings.var / "published", connection, night_of(0).score_date)
