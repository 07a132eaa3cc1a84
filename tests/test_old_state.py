"""A state folder that an earlier version left is read by today's code, and the next night goes on from it.

tests/fixtures/state_2026_11.tar.xz was written by the commands of November 2026, before the modules moved into rooms:
the plain world of tests/support/worlds/golden.py with 60 customers, `recency`, `logistic_regression` and `gru` of one
epoch; a history and two nights, scored by a `gru` that was made champion by hand; less plots, reports and Data Docs.
`next_night.csv` holds the scores that the same commands gave for the night after those.
"""

import csv
import io
import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from tests.support.plain_reading import ROOT, recur

ARCHIVE = ROOT / "tests" / "fixtures" / "state_2026_11.tar.xz"
PLACE = "/old-state"
"""Where MLflow's artifacts lay, as its database in the archive says."""
ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "datasets": "dataset_source", "tags": "value"}
LAST, NEXT = "2020-08-03", "2020-08-04"
SCORES = "select customer_id, horizon_days, churn_probability, reasons, days_since_last_event from prediction_history"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration beside the old state folder."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    folder /= "state_2026_11"
    with sqlite3.connect(folder / "var" / "mlflow.db") as database:
        for table, column in ADDRESSES.items():
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (PLACE, str(folder)))
    database.close()
    return folder / "recur.toml"


@pytest.fixture
def as_it_was_defined(config: Path) -> Path:
    """The configuration with treatments as they were until December 2026: coming back like any event."""
    file = config.with_name("as_it_was.toml")
    file.write_text(config.read_text().replace("[question]\n", "[question]\ntreatments = []\n"))
    return file


def test_the_last_comparison_is_shown_as_it_was(config: Path) -> None:
    shown = json.loads(recur("compare", "--format", "json", config=config))
    assert shown == json.loads((config.parent / "var" / "snapshots" / "2020-08-01" / "comparison.json").read_text())
    assert [model["name"] for model in shown["models"]] == ["recency", "logistic_regression", "gru"]


def test_published_nights_are_queried(config: Path) -> None:
    sql = "select score_date, model_name, count(*) as rows from prediction_history group by 1, 2 order by 1"
    rows = json.loads(recur("query", sql, "--format", "json", config=config))
    assert [tuple(row.values()) for row in rows] == [
        ("2020-08-01", "gru", 88),
        ("2020-08-02", "gru", 90),
        ("2020-08-03", "gru", 92),
    ]


def test_the_quarantine_is_listed(config: Path) -> None:
    listed = recur("quarantine", "list", config=config)
    assert "2020-08-01" in listed
    assert '"amount":"n/a"' in listed


def test_a_champion_of_the_older_definition_is_refused(config: Path) -> None:
    recur("ingest", "--until", NEXT, config=config)
    with pytest.raises(AssertionError) as refused:
        recur("score", config=config)
    said = "learned from labels in which a treatment (campaign) counts as coming back: run `recur train`"
    assert said in " ".join(str(refused.value).split())


def test_the_next_night_goes_on_from_the_carried_state(as_it_was_defined: Path) -> None:
    config = as_it_was_defined
    recur("ingest", "--until", NEXT, config=config)
    recur("score", config=config)
    scored = recur("query", f"{SCORES} where score_date = '{NEXT}' order by 1, 2", "--format", "csv", config=config)
    then = list(csv.DictReader((config.parent / "next_night.csv").open()))
    now = list(csv.DictReader(io.StringIO(scored)))
    churn = "churn_probability"
    others = {churn: "", "reasons": ""}
    assert [row | others for row in now] == [row | others for row in then]
    # Since then, those who rose have reasons too, and what tells the same is one reason.
    had, have = ([bool(row["reasons"]) for row in rows] for rows in (then, now))
    assert any(had)
    assert all(after for before, after in zip(had, have, strict=True) if before)
    assert [float(row[churn]) for row in now] == pytest.approx([float(row[churn]) for row in then], rel=1e-6)
    plans = list((config.parent / "var" / "carried").glob(f"*/{NEXT}/plan.json"))
    assert [json.loads(plan.read_text())["origin"] for plan in plans] == [LAST]
    assert len(list((config.parent / "var" / "carried").iterdir())) == 1


def test_a_customer_is_explained(as_it_was_defined: Path) -> None:
    told = recur("explain", "cust-004", config=as_it_was_defined)
    assert "version 3 (gru, trained until 2020-08-01)" in " ".join(told.split())
