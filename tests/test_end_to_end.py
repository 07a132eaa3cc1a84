"""README's worked example, end to end with nothing mocked: a CSV with a customer, a time and an amount, the promised
keys, the real DAGs, every model, and what people ask of it afterwards.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.sections import Models
from tests.support.plain_reading import disagreements, recur
from tests.support.worlds.trained_world import made_up_events

TOML = """
[source]
kind = "csv"
path = "orders.csv"
[source.columns]
customer_id = "customer"
event_time = "ordered_at"
amount = "total"
[question]
active_within = 42
horizons = [14, 28]
[models]
max_epochs = 2
[run]
first_night = 2020-08-29
"""


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return made_up_events(customers=140)[["customer_id", "event_time", "amount"]]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, orders: pd.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end")
    named = orders.rename(columns={"customer_id": "customer", "event_time": "ordered_at", "amount": "total"})
    named.assign(ordered_at=named["ordered_at"].dt.strftime("%Y-%m-%d %H:%M:%S")).to_csv(
        folder / "orders.csv", index=False
    )
    (folder / "recur.toml").write_text(TOML)
    (folder / "shown.txt").write_text(recur("run", "--until", "2020-08-30", config=folder / "recur.toml"))
    return folder / "recur.toml"


def test_labels_eligibility_losses_and_verdict_equal_a_plain_reading(config: Path, orders: pd.DataFrame) -> None:
    assert disagreements(config, orders, 42, 14, config.parent / "test.parquet") == []


def test_every_model_is_compared_on_one_test_set(config: Path) -> None:
    comparison = json.loads(recur("compare", "--format", "json", config=config))
    assert sorted(model["name"] for model in comparison["models"]) == sorted(Models().names)
    assert comparison["question_digest"]
    assert comparison["test_digest"]


def test_the_report_shows_what_a_person_looks_for(config: Path) -> None:
    shown = (config.parent / "shown.txt").read_text()
    for words in ("Models on the same test set", "Verdict:", "Customers most at risk", "make up", "hybrid_gru"):
        assert words in shown


def test_every_night_and_both_horizons_are_published(config: Path) -> None:
    sql = "select score_date, horizon_days, count(*) as n from prediction_history group by 1, 2 order by 1, 2"
    rows = json.loads(recur("query", sql, "--format", "json", config=config))
    assert [(row["score_date"], row["horizon_days"]) for row in rows] == [
        (f"2020-08-{day}", horizon) for day in (29, 30) for horizon in (14, 28)
    ]
    assert all(row["n"] > 50 for row in rows)


def test_a_longer_horizon_is_never_the_riskier_one(config: Path) -> None:
    sql = "select customer_id, score_date, day, probability from survival_curve order by customer_id, score_date, day"
    curve = pd.DataFrame(json.loads(recur("query", sql, "--format", "json", config=config)))
    steps = curve.groupby(["customer_id", "score_date"])["probability"].diff().dropna()
    assert len(steps) > 0
    assert (steps <= 0).all()


def test_anyone_can_be_explained(config: Path) -> None:
    sql = "select customer_id from churn_predictions order by risk_percentile desc limit 1"
    customer = recur("query", sql, "--format", "csv", config=config).split()[1]
    assert customer in recur("explain", customer, config=config)
