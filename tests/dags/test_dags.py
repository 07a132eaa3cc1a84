"""The DAGs as Airflow reads them: nothing heavy at parse, the promised order, and what becomes of errors."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pipeline.steps
from pipeline.runtime.errors import ConfigurationError, NothingToDo, RecurError
from pipeline.steps import NIGHTLY, TRAINING

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras", "pandas", "great_expectations", "mlflow", "sklearn", "lightgbm", "duckdb", "ibis")


@pytest.fixture(scope="module")
def nightly(airflow_home: None) -> Any:
    from dags.nightly_predictions import nightly_predictions

    return nightly_predictions()


@pytest.fixture(scope="module")
def training(airflow_home: None) -> Any:
    from dags.train_and_compare import train_and_compare

    return train_and_compare()


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; import dags.nightly_predictions, dags.train_and_compare; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    parsed = subprocess.run(
        [sys.executable, "-c", program],
        env={"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert parsed.stdout.strip().splitlines()[-1] == "[]"


def test_a_night_goes_from_the_source_to_the_review(nightly: Any) -> None:
    tasks = {task.task_id: sorted(task.upstream_task_ids) for task in nightly.tasks}
    assert tasks == {
        "extract": [],
        "validate": ["extract"],
        "load": ["validate"],
        "score": ["load"],
        "publish": ["score"],
        "review": ["load", "publish"],
    }


def test_tasks_come_in_the_order_of_the_steps(nightly: Any, training: Any) -> None:
    for dag, steps in ((nightly, NIGHTLY), (training, TRAINING)):
        tasks = [task.task_id for task in dag.topological_sort()]
        assert [task for task in tasks if task != "pool"] == list(steps)  # `pool` is `train` for those of other models
        for task, before in zip(tasks[1:], tasks, strict=False):
            assert before in dag.get_task(task).upstream_task_ids


def test_every_step_is_a_function_of_its_module() -> None:
    modules = {file.stem for file in Path(pipeline.steps.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules == {*NIGHTLY, *TRAINING}
    for name in modules:
        assert pipeline.steps.step(name).__name__ == name


def test_a_training_maps_one_task_a_model_in_a_pool_of_one(training: Any) -> None:
    tasks = {task.task_id: sorted(task.upstream_task_ids) for task in training.tasks}
    upstream = {
        "snapshot": [],
        "train": ["snapshot"],
        "pool": ["train"],
        "compare": ["pool", "train"],
        "promote": ["compare"],
    }
    assert tasks == upstream
    for name in ("train", "pool"):
        assert training.get_task(name).is_mapped
        assert training.get_task(name).partial_kwargs["pool"] == "training"


def test_review_runs_without_a_champion_but_not_past_the_end_of_the_source(nightly: Any) -> None:
    assert nightly.get_task("review").trigger_rule == "none_failed_min_one_success"
    assert all(
        nightly.get_task(name).trigger_rule == "all_success" for name in ("validate", "load", "score", "publish")
    )


def test_every_dag_runs_one_night_at_a_time_and_never_catches_up(nightly: Any, training: Any) -> None:
    for dag in (nightly, training):
        assert dag.catchup is False
        assert dag.max_active_runs == 1
        assert dag.params["cutoff"] is None


def test_a_scheduled_night_is_one_day_long(nightly: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    timetable = coerce_to_core_timetable(nightly.timetable)
    interval = timetable.infer_manual_data_interval(run_after=datetime(2017, 12, 4, 0, 30, tzinfo=UTC))
    assert (interval.start, interval.end) == (datetime(2017, 12, 3, tzinfo=UTC), datetime(2017, 12, 4, tzinfo=UTC))


def test_training_waits_for_what_load_emits(nightly: Any, training: Any) -> None:
    outlets = [asset.name for asset in nightly.get_task("load").outlets]
    waited_for = [asset.name for asset in training.timetable.asset_condition.objects]
    assert outlets == waited_for == ["recur_events"]


@pytest.mark.parametrize(
    ("error", "airflow_error"),
    [
        (NothingToDo("no champion"), "AirflowSkipException"),
        (RecurError("a broken night"), "AirflowFailException"),
        (ConfigurationError("an unknown key"), "AirflowFailException"),
        (OSError("the disk is full"), "OSError"),
    ],
)
def test_what_becomes_of_errors(airflow_home: None, error: Exception, airflow_error: str) -> None:
    from dags._shared import airflow_errors

    def fail() -> None:
        with airflow_errors():
            raise error

    assert _raised_by(fail) == (airflow_error, str(error))


def _raised_by(action: Callable[[], None]) -> tuple[str, str]:
    try:
        action()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


class _Task:
    """A task instance as a callback sees it, whose XCom is `found`."""

    dag_id, task_id = "nightly_predictions", "review"

    def __init__(self, found: Any = None) -> None:
        self.found = found

    def xcom_pull(self, task_ids: str) -> Any:
        assert task_ids == self.task_id
        return self.found


def test_callbacks_post_failures_and_reviews_that_call_for_something(
    nightly: Any, training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.servers.listening import listening

    for dag in (nightly, training):
        assert all(task.has_on_failure_callback for task in dag.tasks if not task.is_mapped)
    assert [task.task_id for task in nightly.tasks if task.on_success_callback] == ["extract", "review"]
    from dags._shared import alert_on_failure, alert_on_review

    with listening() as (address, heard):
        (tmp_path / "recur.toml").write_text('[addresses]\nalerts = "$RECUR_TEST_ALERTS"\n', "utf-8")
        monkeypatch.setenv("RECUR_CONFIG", str(tmp_path / "recur.toml"))
        monkeypatch.setenv("RECUR_TEST_ALERTS", address)
        alert_on_review({"ti": _Task({"decision": "fine", "why": "nothing"})})
        alert_on_review({"ti": _Task()})
        alert_on_review({"ti": _Task({"decision": "alert", "why": "scores have moved"})})
        alert_on_failure({"ti": _Task(), "exception": RecurError("the disk\nis full")})
    assert heard == [
        {"text": "recur: alert: scores have moved"},
        {"text": "recur: nightly_predictions, review failed: the disk is full"},
    ]


def test_a_night_that_was_not_published_is_told_with_the_next(
    airflow_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dags._shared import alert_on_gap
    from pipeline.config.settings import load_settings
    from tests.support.servers.listening import listening
    from tests.support.worlds.published_world import night_of, publish_nights

    with listening() as (address, heard):
        (tmp_path / "recur.toml").write_text('[addresses]\nalerts = "$RECUR_TEST_ALERTS"\n', "utf-8")
        monkeypatch.setenv("RECUR_CONFIG", str(tmp_path / "recur.toml"))
        monkeypatch.setenv("RECUR_TEST_ALERTS", address)
        publish_nights(load_settings(), 2, 5)
        last = night_of(1).cutoff
        for days in (1, 2):
            params = {"cutoff": (last + timedelta(days=days)).date().isoformat()}
            alert_on_gap({"dag_run": _DagRun(), "triggering_asset_events": {}, "params": params})
    missed = (last + timedelta(days=1)).date()
    assert heard == [
        {"text": f"recur: the night {missed} was not published: the last one that readers have is {last.date()}"}
    ]


class _DagRun:
    data_interval_end = data_interval_start = run_after = None


def test_a_run_in_process_keeps_the_callbacks_of_the_dags(nightly: Any, training: Any) -> None:
    import copy

    from dags._shared import alert_on_failure, alert_on_review
    from pipeline.cli.main_job import _Runner

    dags = {"nightly_predictions": copy.deepcopy(nightly), "train_and_compare": copy.deepcopy(training)}
    _Runner(dags, Path("run.log"), None)  # type: ignore[arg-type]
    for dag in dags.values():
        for task in dag.tasks:
            kept = task.partial_kwargs["on_failure_callback"] if task.is_mapped else task.on_failure_callback
            assert [each.__name__ for each in kept] == ["_on_failure", alert_on_failure.__name__]
    assert alert_on_review.__name__ in [
        each.__name__ for each in dags["nightly_predictions"].get_task("review").on_success_callback
    ]


def test_airflow_takes_the_guard_of_its_pages(airflow_home: None) -> None:
    from airflow import plugins_manager

    from pipeline.serving.pages.airflow_guard import guarded

    guards = [each for each in plugins_manager.get_fastapi_plugins()[1] if each["name"] == "recur_guard"]
    assert [each["middleware"] for each in guards] == [guarded]
