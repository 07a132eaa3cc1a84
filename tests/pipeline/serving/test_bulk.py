"""Many rows at once: what goes in comes out, to the last digit and character, on SQLite and on PostgreSQL."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete, select, update

from pipeline.config.sections import Addresses
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.serving import tables
from pipeline.serving.bulk import append, read
from pipeline.serving.night_digests import digest_in, digest_of_frame
from tests.support.published import predictions_of, query
from tests.support.servers.postgresql import database_of, postgresql

DAY = date(2017, 12, 4)
AWKWARD = ['a,"b"', "line\nend", "", "ü\\N", "NULL", "\t"]
GOLDEN = "2:eda9127b6726af698a75d05b4ee503f0f1d030e5852a5388da580184256e7842"  # of those rows in chunks of four


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of a database in PostgreSQL."""
    with postgresql(tmp_path_factory.mktemp("postgresql") / "data") as superuser:
        yield database_of(superuser, "predictions", createrole=True).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return Settings(root=tmp_path)
    return Settings(root=tmp_path, addresses=Addresses(predictions=request.getfixturevalue("address")))


def frame(customers: list[str]) -> pd.DataFrame:
    rows = len(customers)
    return pd.DataFrame(
        {
            "reasons": [None, *customers[1:]],
            "customer_id": customers,
            "horizon_days": 28,
            "churn_probability": np.random.default_rng(3).random(rows),
            "risk_percentile": 100 / 3,
            "risk_band": "high",
            "risk_change": [np.nan, *[1e-300] * (rows - 1)],
            "expected_purchases": np.nan,
            "expected_spend": 0.1 + 0.2,
            "days_since_last_event": 5e-324,
            "curve": [None, *["[0.9,0.5]"] * (rows - 1)],
            "control": pd.array([None, *[1] * (rows - 1)], "Int64"),
            "not_a_column": 1,
        }
    )


def test_what_goes_in_comes_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.serving.bulk.CHUNK", 4)
    given = frame(AWKWARD)
    with predictions_of(settings).writing() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))
        append(connection, tables.prediction, DAY, given)
        rows = select(tables.prediction).where(tables.prediction.c.score_date == DAY)
        kept = connection.execute(rows).mappings().all()
    by_customer = {row["customer_id"]: row for row in kept}
    assert len(kept) == len(AWKWARD)
    for expected in given.drop(columns="not_a_column").to_dict("records"):
        row = by_customer[expected["customer_id"]]
        assert row["score_date"] == DAY
        for name, value in expected.items():
            kept_value = row[name] if name != "curve" or row[name] is None else json.dumps(row[name]).replace(" ", "")
            assert kept_value == (None if pd.isna(value) else value), name


def test_a_digest_rests_on_every_value_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of what is written is that of what is in the database, on both, whatever the order and the chunks in
    which it went in, and another where anything changed.
    """
    monkeypatch.setattr("pipeline.serving.night_digests.AT_ONCE", 4)
    written = frame(AWKWARD).sort_values("customer_id", ignore_index=True)
    with predictions_of(settings).writing() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))
        append(connection, tables.prediction, DAY, frame(AWKWARD))
        noted = digest_in(connection, DAY)
        assert noted == digest_of_frame(written)
        assert noted == GOLDEN
        of_one = tables.prediction.c.customer_id == "NULL"
        for change in (
            {"risk_change": 0.0},
            {"risk_change": None},
            {"reasons": ""},
            {"reasons": None},
            {"control": 0},
            {"curve": [0.9, 0.4]},
            {"expected_purchases": 0.0},
            {"customer_id": "NUL"},
        ):
            with connection.begin_nested() as point:
                connection.execute(update(tables.prediction).where(of_one).values(**change))
                assert digest_in(connection, DAY) != noted, change
                point.rollback()
        assert digest_in(connection, DAY) == noted
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))


def test_a_text_that_became_bytes_is_no_text(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with predictions_of(settings).writing() as connection:
        append(connection, tables.prediction, DAY, frame(["a"]))
        connection.exec_driver_sql("update prediction set reasons = cast('because' as blob)")
        assert digest_in(connection, DAY) is None


def test_a_curve_is_expanded_day_by_day(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))
        append(connection, tables.prediction, DAY, frame(["a", "b"]))
    curves = "select customer_id, day, probability from survival_curve where score_date = '{}' order by 1, 2"
    churn = frame(["a", "b"])["churn_probability"].tolist()
    assert query(settings, curves.format(DAY))[1] == [("a", 28, churn[0]), ("b", 14, 0.9), ("b", 28, churn[1])]


def test_columns_come_out_as_they_are(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))
        append(connection, tables.prediction, DAY, frame(AWKWARD))
        columns = tables.prediction.c
        query = select(columns.customer_id, columns.churn_probability).where(columns.score_date == DAY)
        rows = read(connection, query).sort_values("customer_id", ignore_index=True)
        assert read(connection, query.where(columns.horizon_days == 1)).empty
    expected = frame(AWKWARD).sort_values("customer_id", ignore_index=True)
    assert list(rows.columns) == ["customer_id", "churn_probability"]
    assert rows["customer_id"].tolist() == expected["customer_id"].tolist()
    assert rows["churn_probability"].tolist() == expected["churn_probability"].tolist()


def test_what_the_driver_refuses_is_one_line_and_nothing_is_kept(settings: Settings) -> None:
    twice = pd.concat([frame(["a"]), frame(["a"])])
    with predictions_of(settings).writing() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.score_date == DAY))
    with (
        pytest.raises(RecurError, match=r"^the predictions database .* cannot be used: .*(UNIQUE|unique)[^\n]*$"),
        predictions_of(settings).writing() as connection,
    ):
        append(connection, tables.prediction, DAY, twice)
    with predictions_of(settings).reading() as connection:
        kept = select(tables.prediction.c.customer_id).where(tables.prediction.c.score_date == DAY)
        assert read(connection, kept).empty
