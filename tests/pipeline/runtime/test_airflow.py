"""The environment that Airflow is given: all of its state under `var/`, all of its services on loopback."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.runtime.airflow import DAGS, environment
from pipeline.runtime.paths import StateFolder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def test_state_lies_under_var(settings: Settings) -> None:
    variables = environment(settings.state, None)
    for name in ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
        assert Path(variables[name]).is_relative_to(settings.var)
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{settings.var / 'airflow' / 'airflow.db'}"
    assert Path(variables["AIRFLOW__CORE__DAGS_FOLDER"]) == DAGS
    assert {path.stem for path in DAGS.glob("*.py")} >= {"nightly_predictions", "train_and_compare"}


def test_its_page_is_on_loopback_at_the_given_port(settings: Settings) -> None:
    variables = environment(settings.state, None, port=8123)
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert variables["AIRFLOW__API__PORT"] == "8123"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(settings: Settings) -> None:
    first, second = environment(settings.state, None), environment(settings.state, None)
    assert first["AIRFLOW__API_AUTH__JWT_SECRET"] == second["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 48
    assert stat.S_IMODE((settings.var / "airflow" / "secret").stat().st_mode) == 0o600


def test_tasks_read_the_named_configuration(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert environment(StateFolder(tmp_path), file)["RECUR_CONFIG"] == str(file)
    assert "RECUR_CONFIG" not in environment(StateFolder(tmp_path), None)


def test_a_folder_of_the_state_does_not_hide_the_package_of_its_name(tmp_path: Path) -> None:
    """`var/models` holds the models that serve; a service runs in `var`, and imports the package `models`."""
    (tmp_path / "models").mkdir()
    program = [sys.executable, "-c", "import models; models.MODELS"]
    environed = {**os.environ, **environment(StateFolder(tmp_path), None)}
    done = subprocess.run(program, cwd=tmp_path, env=environed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
