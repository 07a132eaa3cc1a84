"""MLflow holds what the steps wrote, and an address that does not answer is one line."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.upkeep.locations import relocate
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder
from pipeline.training.tracking import EXPERIMENT, Tracking, _client


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    var = tmp_path_factory.mktemp("tracking")
    return Tracking(f"sqlite:///{var / 'mlflow.db'}", StateFolder(var))


def test_a_run_keeps_what_is_written_to_it(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.open_run("parent")
    run.parameters({"units": 32, "name": "gru", "shares": [0.1, 0.2]})
    run.metrics({"loss": 0.25, "absent": None, "undefined": math.nan})
    run.curves({"epoch_loss": [0.5, 0.4, 0.3]})
    run.dataset("test", "0123456789abcdef", 42, tmp_path)
    run.text("no detectable difference", "report.md")
    run.finish()
    kept = run.client.get_run(run.run_id)
    assert kept.data.params == {"units": "32", "name": "gru", "shares": "[0.1, 0.2]"}
    assert kept.data.metrics == {"loss": 0.25, "epoch_loss": 0.3}
    assert [point.value for point in run.client.get_metric_history(run.run_id, "epoch_loss")] == [0.5, 0.4, 0.3]
    (shown,) = kept.inputs.dataset_inputs
    assert (shown.dataset.digest, shown.tags[0].value) == ("0123456789abcdef", "test")
    assert (
        tracking.state.path / "mlartifacts" / run.run_id / "artifacts" / "report.md"
    ).read_text() == "no detectable difference"
    assert kept.info.status == "FINISHED"


def test_an_experiment_of_an_earlier_recur_opens_on_its_runs_too(tracking: Tracking) -> None:
    def kind() -> str:
        return str(tracking.client.get_experiment_by_name(EXPERIMENT).tags["mlflow.experimentKind"])

    assert kind() == "custom_model_development"
    number = tracking.client.get_experiment_by_name(EXPERIMENT).experiment_id
    tracking.client.set_experiment_tag(number, "mlflow.experimentKind", "genai_development_inferred")
    _client.cache_clear()
    assert kind() == "custom_model_development"


def test_a_copied_state_does_not_write_where_it_came_from(tracking: Tracking, tmp_path: Path) -> None:
    tracking.open_run("one").finish()
    shutil.copytree(tracking.state.path, tmp_path / "copy")
    copy = Tracking(f"sqlite:///{tmp_path / 'copy' / 'mlflow.db'}", StateFolder(tmp_path / "copy"))
    with pytest.raises(RecurError, match=r"keeps its artefacts in .*recur check --repair"):
        copy.open_run("two")
    relocate(tmp_path / "copy" / "mlflow.db", tracking.state.path, tmp_path / "copy")
    run = copy.open_run("two")
    run.text("here", "report.md")
    assert (tmp_path / "copy" / "mlartifacts" / run.run_id / "artifacts" / "report.md").exists()


def test_more_points_than_mlflow_takes_at_once_are_all_kept(tracking: Tracking) -> None:
    run = tracking.open_run("long")
    run.curves({"loss": np.linspace(1, 0, 1500).tolist()})
    assert len(run.client.get_metric_history(run.run_id, "loss")) == 1500


def test_a_child_that_is_tried_again_takes_the_place_of_the_failed_one(tracking: Tracking) -> None:
    parent = tracking.open_run("parent")
    with pytest.raises(ZeroDivisionError), tracking.child_run("gru", parent.run_id) as failed:
        _ = 1 / 0
    assert parent.client.get_run(failed.run_id).info.status == "FAILED"
    with tracking.child_run("lstm", parent.run_id) as other:
        pass
    with tracking.child_run("gru", parent.run_id) as again:
        pass
    assert parent.client.get_run(failed.run_id).info.lifecycle_stage == "deleted"
    for run in (other, again):
        kept = parent.client.get_run(run.run_id)
        assert (kept.info.status, kept.info.lifecycle_stage) == ("FINISHED", "active")
        assert kept.data.tags["mlflow.parentRunId"] == parent.run_id


def test_discarding_a_parent_takes_its_children_along(tracking: Tracking) -> None:
    parent, stranger = tracking.open_run("parent"), tracking.open_run("stranger")
    with tracking.child_run("gru", parent.run_id) as child:
        pass
    tracking.discard(parent.run_id)
    stages = [parent.client.get_run(run.run_id).info.lifecycle_stage for run in (parent, child, stranger)]
    assert stages == ["deleted", "deleted", "active"]


@pytest.mark.parametrize(
    "address",
    ["sqlite:////proc/nowhere/mlflow.db", "http://user:secret@127.0.0.1:9", "nonsense://user:secret@host/name"],
)
def test_an_address_that_does_not_answer_is_named_without_its_password(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wait in ("FACTOR", "JITTER"):  # MLflow asks again at once
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_BACKOFF_{wait}", "0")
    with pytest.raises(RecurError) as caught:
        _ = Tracking(address, StateFolder(tmp_path)).client
    message = str(caught.value)
    assert "addresses.mlflow" in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_file_that_is_no_database_is_to_be_put_back(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"<html>502 Bad Gateway</html>" * 100)
    with pytest.raises(RecurError, match=r"mlflow\.db.* it is damaged: put it back from a backup$"):
        Tracking(f"sqlite:///{file}", StateFolder(tmp_path)).open_run("none")
