"""Publish: ranks and bands, one transaction, a rerun that changes nothing, changes since the night before."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from pipeline.config.settings import Settings
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import Night
from pipeline.steps.publish import publish, ranked
from tests.support.published import predictions_of, query


def night_of(day: int) -> Night:
    return Night(None, datetime(2017, 12, day, tzinfo=UTC))


def scores(probabilities: dict[str, float], horizon: int = 28, **changes: object) -> pd.DataFrame:
    frame = pd.DataFrame({"customer_id": list(probabilities), "churn_probability": list(probabilities.values())})
    constant: dict[str, object] = {
        "horizon_days": horizon,
        "expected_purchases": 1.5,
        "expected_spend": np.nan,
        "reasons": None,
        "days_since_last_event": 3.0,
        "model_name": "gru",
        "model_version": "1",
        "run_id": "abc",
        "question_digest": "0123",
    }
    return frame.assign(**(constant | changes))


def leave(settings: Settings, night: Night, frame: pd.DataFrame) -> None:
    path = settings.state.scored(night)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def test_the_top_tenth_is_high_and_the_next_three_tenths_medium() -> None:
    made = ranked(scores({f"{number:02d}": number / 100 for number in range(30)}), 0.1, 0.3)
    assert made["risk_band"].value_counts().to_dict() == {"high": 3, "medium": 9, "low": 18}
    assert made.set_index("customer_id").loc["29", "risk_percentile"] == 100
    assert made.set_index("customer_id").loc["26", "risk_band"] == "medium"


def test_equal_probabilities_are_ranked_by_recency() -> None:
    made = ranked(scores({"a": 0.5, "b": 0.5}).assign(days_since_last_event=[9.0, 2.0]), 0.5, 0.5)
    assert made.set_index("customer_id")["risk_percentile"].to_dict() == {"a": 100.0, "b": 50.0}


def test_bands_split_no_equal_probabilities() -> None:
    alike = ranked(scores({f"{number:02d}": 0.25 for number in range(20)}), 0.1, 0.3)
    assert set(alike["risk_band"]) == {"low"}  # nobody stands out
    two = ranked(scores({"a": 0.9, "b": 0.9} | {f"{number:02d}": number / 100 for number in range(8)}), 0.1, 0.3)
    assert two["risk_band"].value_counts().to_dict() == {"high": 2, "medium": 2, "low": 6}


@effort(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_every_customer_has_a_place_of_their_own(values: list[float], high: float, medium: float) -> None:
    made = ranked(scores({str(number): value for number, value in enumerate(values)}), high, medium)
    by_risk = made.sort_values("risk_percentile")
    assert by_risk["churn_probability"].is_monotonic_increasing
    assert by_risk["risk_percentile"].is_unique
    assert by_risk["risk_percentile"].iloc[-1] == 100
    order = by_risk["risk_band"].map({"low": 0, "medium": 1, "high": 2})
    assert order.is_monotonic_increasing


def test_a_night_is_published_and_the_last_one_is_shown(settings: Settings) -> None:
    for day, probability in ((4, 0.25), (5, 0.5)):
        leave(settings, night_of(day), scores({"ann": probability, "bob": 0.125}))
        publish(settings, night_of(day))
    columns = "score_date, customer_id, churn_probability, risk_change, expected_purchases, expected_spend"
    assert query(settings, f"select {columns} from churn_predictions order by customer_id")[1] == [
        ("2017-12-05", "ann", 0.5, 0.25, 1.5, None),
        ("2017-12-05", "bob", 0.125, 0.0, 1.5, None),
    ]
    assert query(settings, "select count(*) from prediction_history")[1] == [(4,)]
    assert query(settings, "select count(*) from prediction_history where risk_change is null")[1] == [(2,)]


def test_only_the_primary_horizon_is_among_the_last_predictions(settings: Settings) -> None:
    both = pd.concat([scores({"ann": 0.5}), scores({"ann": 0.25}, horizon=56)])
    leave(settings, night_of(4), both)
    assert publish(settings, night_of(4)) == {"rows_scored": 1, "rows_published": 2}
    assert query(settings, "select horizon_days from churn_predictions")[1] == [(28,)]
    assert query(settings, "select day, probability from survival_curve order by day")[1] == [(28, 0.5), (56, 0.25)]


def test_publishing_again_changes_nothing(settings: Settings) -> None:
    leave(settings, night_of(4), scores({"ann": 0.5, "bob": 0.25}))
    publish(settings, night_of(4))
    before = query(settings, "select * from prediction_history order by customer_id")
    publish(settings, night_of(4))
    assert query(settings, "select * from prediction_history order by customer_id") == before


def test_a_night_published_late_is_what_its_successor_changed_from(settings: Settings) -> None:
    for day, probability in ((4, 0.5), (6, 0.75), (5, 0.625)):
        leave(settings, night_of(day), scores({"ann": probability}))
        publish(settings, night_of(day))
    changes = "select score_date, risk_change from prediction_history order by score_date"
    assert query(settings, changes)[1] == [("2017-12-04", None), ("2017-12-05", 0.125), ("2017-12-06", 0.125)]


def test_a_failure_leaves_the_night_before(settings: Settings) -> None:
    leave(settings, night_of(4), scores({"ann": 0.5}))
    publish(settings, night_of(4))
    full = "create trigger full before insert on prediction when new.customer_id = 'bob' begin "
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql(full + "select raise(abort, 'disk full'); end")
    leave(settings, night_of(5), scores({"ann": 0.625, "bob": 0.5}))
    with pytest.raises(RecurError, match="disk full"):
        publish(settings, night_of(5))
    assert query(settings, "select score_date, churn_probability from prediction_history")[1] == [("2017-12-04", 0.5)]
    failed = "select step, score_date, status from pipeline_runs where status = 'failed'"
    assert query(settings, failed)[1] == [("publish", "2017-12-05", "failed")]


def test_without_scores_there_is_nothing_to_publish(settings: Settings) -> None:
    with pytest.raises(NothingToDo, match="no champion"):
        publish(settings, night_of(4))
    assert query(settings, "select step, status from pipeline_runs")[1] == [("publish", "skipped")]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.concat([scores({"ann": 0.5}), scores({"bob": 0.5}, model_version="2")]), "2 values of model_version"),
        (pd.concat([scores({"ann": 0.5}), scores({"ann": 0.5})]), "a customer twice"),
        (scores({"ann": 1.5}), "1 churn probabilities that are none"),
        (scores({"ann": np.nan}), "1 churn probabilities that are none"),
    ],
)
def test_scores_that_make_no_sense_are_refused(settings: Settings, frame: pd.DataFrame, words: str) -> None:
    leave(settings, night_of(4), frame)
    with pytest.raises(RecurError, match=words):
        publish(settings, night_of(4))
    assert predictions_of(settings).published_nights() == []


def test_forgetting_leaves_no_trace_in_the_file(settings: Settings) -> None:
    leave(settings, night_of(4), scores({"someone-unmistakable": 0.5, "bob": 0.25}))
    publish(settings, night_of(4))
    assert predictions_of(settings).erase("someone-unmistakable") == 1
    assert query(settings, "select customer_id from churn_predictions")[1] == [("bob",)]
    kept = b"".join(file.read_bytes() for file in settings.var.glob("predictions.db*"))
    assert b"someone-unmistakable" not in kept
