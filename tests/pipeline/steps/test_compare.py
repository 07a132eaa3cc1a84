"""The comparison: its figures follow from its own predictions and from the raw events."""

import html
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss
from sqlalchemy import text

from pipeline.config.sections import Evidence
from pipeline.config.settings import Settings
from pipeline.runtime.described import described
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.steps.compare import compare, last_comparison, last_predictions
from pipeline.training.registry import open_registry
from pipeline.training.snapshot import describe_snapshot
from tests.pipeline.conftest import World
from tests.support.published import predictions_of
from tests.support.worlds.trained_world import (
    FIRST,
    NAMES,
    PRIMARY,
    churned_by_hand,
    evidence_of,
    run_training,
    snapshot_of,
)


def test_labels_and_log_losses_are_those_of_the_raw_events_and_the_published_predictions(trained_world: World) -> None:
    rows = pd.read_parquet(last_predictions(trained_world.settings.state))
    assert list(rows.columns) == ["customer_id", "cutoff", "window", "label", "model", "probability"]
    pairs = zip(rows["customer_id"], rows["cutoff"], strict=True)
    truth = np.array([churned_by_hand(trained_world.events, customer, cutoff) for customer, cutoff in pairs])
    np.testing.assert_array_equal(rows["label"], truth)
    comparison = last_comparison(trained_world.settings.state)
    assert [model["name"] for model in comparison["models"]] == list(NAMES)
    for model in comparison["models"]:
        own = (rows["model"] == model["name"]).to_numpy()
        said = rows["probability"].to_numpy()[own]
        loss = -np.log(np.where(truth[own], said, 1 - said)).mean()
        assert model["metrics"]["log_loss"]["value"] == pytest.approx(loss, abs=1e-9)


def test_every_model_was_asked_about_the_same_rows(trained_world: World) -> None:
    rows = pd.read_parquet(last_predictions(trained_world.settings.state))
    (window,) = last_comparison(trained_world.settings.state)["windows"]
    keys = [group[["customer_id", "cutoff", "label"]].to_numpy().tolist() for _, group in rows.groupby("model")]
    assert all(key == keys[0] for key in keys)
    assert window["examples"] == len(keys[0])
    assert pd.Timestamp(window["start"]) == rows["cutoff"].min()
    assert pd.Timestamp(window["end"]) == rows["cutoff"].max() + PRIMARY * DAY == FIRST


def test_the_view_and_the_runs_hold_the_figures_of_the_comparison(trained_world: World, tmp_path: Path) -> None:
    comparison = last_comparison(trained_world.settings.state)
    with predictions_of(trained_world.settings).reading() as connection:
        shown = connection.execute(text("select model_name, metric, value, low, high from model_comparison")).all()
    said = [
        (model["name"], metric, *(interval[end] for end in ("value", "low", "high")))
        for model in comparison["models"]
        for metric, interval in model["metrics"].items()
    ]
    assert sorted(map(tuple, shown)) == sorted(said)
    for model in comparison["models"]:
        run = open_registry(trained_world.settings).tracking.client.get_run(model["run_id"])
        assert run.data.metrics["test_roc_auc"] == model["metrics"]["roc_auc"]["value"]
        measured = [name for name in run.data.metrics if name.startswith("test_")]
        assert len(measured) == len(model["metrics"]) + 2  # the interval of the log loss
        file = open_registry(trained_world.settings).tracking.client.download_artifacts(
            model["run_id"], "test_figures.json", str(tmp_path)
        )
        figures = json.loads(Path(file).read_text("utf-8"))
        assert figures["roc_auc"] == model["metrics"]["roc_auc"]
        assert set(model["details"]) < set(figures)


def test_the_parent_run_has_the_report_its_pictures_and_the_features_in_words(
    trained_world: World, tmp_path: Path
) -> None:
    client = open_registry(trained_world.settings).tracking.client
    run_id = snapshot_of(trained_world.settings).run_id
    assert {file.path for file in client.list_artifacts(run_id)} >= {
        "comparison.json",
        "report.html",
        "gate.txt",
        "features.json",
        "plots",
    }
    words = client.download_artifacts(run_id, "features.json", str(tmp_path))
    data = snapshot_of(trained_world.settings).data
    assert list(json.loads(Path(words).read_text("utf-8"))) == list(data.aggregates.columns)
    pictures = {Path(file.path).name for file in client.list_artifacts(run_id, "plots")}
    assert pictures == {
        f"{name}.png"
        for name in (
            "comparison",
            "training_curves",
            "horizons",
            "altered",
            "roc",
            "precision_recall",
            "calibration",
            "gain",
        )
    }
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_comparison_made_again_is_the_same(own_world: World) -> None:
    first = last_comparison(own_world.settings.state)
    compare(own_world.settings, FIRST)
    assert last_comparison(own_world.settings.state) == first


def test_a_model_without_a_result_is_named(trained_world: World) -> None:
    settings = trained_world.settings
    more = settings.model_copy(update={"models": settings.models.model_copy(update={"names": (*NAMES, "gru")})})
    with pytest.raises(RecurError, match="gru has no result as of 2020-08-01"):
        evidence_of(more)


def test_a_run_on_other_test_examples_is_refused(own_world: World) -> None:
    folder, name = own_world.settings.state.snapshot(FIRST), "results/recency.json"
    other = json.loads((folder / name).read_text()) | {"test_digest": "0" * 16}
    with described(folder, name) as file:
        file.write_text(json.dumps(other))
    with pytest.raises(RecurError, match=r"recency .* was tested on 0000000000000000"):
        compare(own_world.settings, FIRST)


def test_predictions_of_other_rows_are_refused(own_world: World) -> None:
    file = own_world.settings.state.snapshot(FIRST) / "predictions" / f"{NAMES[1]}.parquet"
    table = pq.read_table(file)
    swapped = pa.array(reversed(table["customer_id"].to_pylist()), pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("customer_id"), "customer_id", swapped), file)
    describe_snapshot(own_world.settings.state.snapshot(FIRST))
    assert pc.sum(pc.not_equal(swapped, table["customer_id"].combine_chunks())).as_py() > 0
    with pytest.raises(RecurError, match="other examples than recency"):
        compare(own_world.settings, FIRST)


def test_before_the_first_comparison_there_is_none_to_show(tmp_path: Path) -> None:
    with pytest.raises(RecurError, match="no comparison was made yet"):
        last_comparison(Settings(root=tmp_path).state)


def test_several_windows_are_trained_apart_and_compared_together(fresh_world: World) -> None:
    settings = fresh_world.settings.model_copy(update={"evidence": Evidence(windows=3)})
    run_training(settings, FIRST)
    comparison = last_comparison(settings.state)
    periods = [(window["start"], window["end"]) for window in comparison["windows"]]
    assert len(periods) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(periods))
    rows = pd.read_parquet(last_predictions(settings.state))
    assert rows.groupby("window").size().tolist() == [
        len(comparison["models"]) * window["examples"] for window in comparison["windows"]
    ]
    for model in comparison["models"]:
        own = rows[rows["model"] == model["name"]]
        expected = log_loss(own["label"], own["probability"])
        assert model["metrics"]["log_loss"]["value"] == pytest.approx(expected, abs=1e-9)


def test_the_report_is_one_page_that_says_what_the_comparison_says(trained_world: World) -> None:
    page = (trained_world.settings.state.snapshot(FIRST) / "report.html").read_text("utf-8")
    comparison = last_comparison(trained_world.settings.state)
    assert html.escape(comparison["verdict"]["sentence"]) in page
    for model in comparison["models"]:
        assert f"<td>{model['name']}</td>" in page
        assert f"{model['metrics']['log_loss']['value']:.4f}" in page
    assert page.count("data:image/png;base64,") == 8
    assert "http" not in page.replace("http-equiv", "")
    words = set(re.findall(r"\w+", re.sub(r"base64,[^\"]*", "", page)))
    assert not words & set(trained_world.events["customer_id"])
