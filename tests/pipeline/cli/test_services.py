"""`make up`: ports, loopback, and that nothing is left running."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.cli import services as up
from pipeline.cli.app import main
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((up.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_usual_port_in_use_is_passed_over(taken_port: int) -> None:
    found = up._port("mlflow", taken_port, None)
    assert found != taken_port
    with socket.socket() as free:
        free.bind((up.HOST, found))


def test_a_named_port_must_be_free(taken_port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"port {taken_port} for mlflow is in use"):
        up._port("mlflow", 5000, taken_port)


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["up", "--mlflow-port", "70000"])
    assert "port 70000 for mlflow" in capsys.readouterr().err


def test_every_service_is_on_loopback_and_no_address_is_an_argument(tmp_path: Path) -> None:
    services = up._services(Settings(root=tmp_path), {"airflow": 1, "mlflow": 2, "datasette": 3})
    assert [service.name for service in services] == ["airflow", "scheduler", "dag-processor", "mlflow", "datasette"]
    assert all(service.address.startswith("http://127.0.0.1:") for service in services if service.address)
    arguments = [argument for service in services for argument in service.command]
    assert "0.0.0.0" not in arguments
    assert not [argument for argument in arguments if "mlflow.db" in argument]


def test_stopping_reaches_grandchildren_in_sessions_of_their_own() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout
    grandchild = int(parent.stdout.readline())
    up._stop([parent])
    assert parent.poll() is not None
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_service_that_ends_is_named_with_its_log(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys; print('why'); sys.exit(3)"]
    process = up._start(up.Service("mlflow", program, dict(os.environ)), tmp_path, tmp_path)
    process.wait()
    with pytest.raises(RecurError, match=r"mlflow ended by itself, with status 3: see .*mlflow\.log"):
        up._require_all({"mlflow": process}, tmp_path)
    assert (tmp_path / "mlflow.log").read_text() == "why\n"


def test_waiting_ends_when_a_service_answers(tmp_path: Path) -> None:
    port = up._port("datasette", 0, None)
    program = [sys.executable, "-m", "http.server", str(port), "--bind", up.HOST]
    service = up.Service("datasette", program, dict(os.environ), f"http://{up.HOST}:{port}")
    process = up._start(service, tmp_path, tmp_path)
    try:
        up._await(service, {"datasette": process}, tmp_path)
        with socket.create_connection((up.HOST, port)) as connection:
            assert connection.getpeername() == (up.HOST, port)
    finally:
        up._stop([process])
