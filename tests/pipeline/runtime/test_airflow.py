"""The environment that Airflow is given: all of its state under `var/`, all of its services on loopback."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.runtime.airflow import DAGS, environment
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.secret_files import secret


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


def test_each_purpose_has_a_secret_that_is_made_once(settings: Settings) -> None:
    first, second = environment(settings.state, None), environment(settings.state, None)
    assert first == second
    signs, speaks = first["AIRFLOW__API__SECRET_KEY"], first["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert len({signs, speaks, secret(settings.state, "airflow_admin")}) == 3
    assert min(len(signs), len(speaks)) >= 48
    files = [*(settings.var / "secrets").iterdir(), settings.state.airflow / "passwords.json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("left", ["", "  \n", "cut"])
def test_a_secret_that_a_kill_cut_short_is_made_again(settings: Settings, left: str) -> None:
    before = secret(settings.state, "airflow_jwt")
    (settings.var / "secrets" / "airflow_jwt").write_text(left)
    after = environment(settings.state, None)["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert len(after) >= 48
    assert after != before


def test_airflow_prints_no_password(settings: Settings) -> None:
    """Its manager of users, as the API server starts it."""
    program = (
        "from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager\n"
        "SimpleAuthManager().init()"
    )
    variables = {**os.environ, **environment(settings.state, None)}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert "Password" not in done.stdout + done.stderr
    passwords = json.loads((settings.state.airflow / "passwords.json").read_text())
    assert passwords == {"admin": secret(settings.state, "airflow_admin")}


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
