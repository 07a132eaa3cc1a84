"""The worked questions and those of others: each is read, and what it asks is what a plain reading finds."""

import re
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from features.question import Question
from pipeline.cli.single_steps import ingest
from pipeline.config.settings import Settings, load_settings
from pipeline.steps.snapshot import snapshot
from pipeline.steps.train import train
from pipeline.training.snapshot import Snapshot
from tests.support.plain_reading import ROOT

START, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 340
CUTOFF = START + timedelta(days=DAYS - 1)
KINDS = {
    "retail_churn": {"purchase": 0.9, "return": 0.1},
    "subscription_cancellation": {"payment": 0.3, "login": 0.55, "support": 0.1, "cancel": 0.05},
    "next_week_purchase": {"view": 0.6, "basket": 0.2, "purchase": 0.2},
}
BACK = {"retail_churn": ["purchase"], "next_week_purchase": ["purchase"]}


def world(name: str, folder: Path) -> tuple[Settings, pd.DataFrame]:
    """The example beside made-up events of 80 customers, as its source's columns call them."""
    shutil.copy(ROOT / "docs" / "examples" / f"{name}.toml", folder / "recur.toml")
    settings = load_settings(folder / "recur.toml")
    random = np.random.default_rng(3)
    days = np.sort(random.uniform(0, DAYS, 2_500))
    rows = pd.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(len(days))],
            # Some come all the time, others for a while.
            "customer_id": [
                f"c{int(80 * random.beta(1, 2)) if day % 60 < 30 else random.integers(80)}" for day in days
            ],
            "event_time": START + pd.to_timedelta((days * 86_400).astype(int), unit="s"),
            "event_type": random.choice(list(KINDS[name]), len(days), p=list(KINDS[name].values())),
            "amount": random.gamma(2, 10, len(days)).round(2),
            "plan": random.choice(["basic", "staff"], len(days), p=[0.9, 0.1]),
        }
    )
    rows.loc[rows["event_type"].isin(["view", "basket", "login", "support", "cancel"]), "amount"] = np.nan
    rows.loc[::97, "customer_id"] = "till-test"
    columns = tomllib.loads((folder / "recur.toml").read_text("utf-8"))["source"]["columns"]
    rows[list(columns)].rename(columns=columns).to_csv(settings.source_path, index=False)
    # All history in one night.
    return settings.model_copy(update={"run": settings.run.model_copy(update={"first_night": CUTOFF.date()})}), rows


@pytest.mark.parametrize("name", KINDS)
def test_a_worked_question_runs_and_asks_what_it_says(name: str, tmp_path: Path) -> None:
    settings, rows = world(name, tmp_path)
    question = settings.question
    ingest(settings, Console(quiet=True), CUTOFF)
    snapshot(settings, CUTOFF)
    examples = Snapshot.read(settings.state.snapshot(CUTOFF), question)
    test = examples.part("test")
    rows = rows[~rows["customer_id"].isin(question.exclude_customers)]
    if question.exclude_values:
        rows = rows[rows["plan"] != "staff"]
    place = question.horizons.index(question.primary)
    assert test.labels is not None
    assert 0 < np.nanmean(test.labels.churn[:, place]) < 1
    for customer, moment, churned in zip(test.customer_id, test.cutoff, test.labels.churn[:, place], strict=True):
        at = pd.Timestamp(moment, unit="us", tz=UTC)
        theirs = rows[(rows["customer_id"] == customer) & (rows["event_time"] >= at)]
        begin = at + pd.Timedelta(days=question.gap)
        end = begin + pd.Timedelta(days=question.primary)
        within = theirs[(theirs["event_time"] >= begin) & (theirs["event_time"] < end)]["event_type"]
        expected = (within == "cancel").any() if name not in BACK else not within.isin(BACK[name]).any()
        assert churned == float(expected)
    assert "till-test" not in examples.data.customer_id or name != "retail_churn"
    train(settings, CUTOFF, "logistic_regression")


QUOTED = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "question.md").read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("text", QUOTED)
def test_the_questions_of_others_are_questions(text: str) -> None:
    (section,) = tomllib.loads(text).values()
    assert Question(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    ).digest


def test_every_key_of_the_question_is_on_its_page() -> None:
    page = (ROOT / "docs" / "question.md").read_text("utf-8")
    assert [key for key in Question.model_fields if f"`{key}`" not in page] == []
    assert len(QUOTED) >= 7
