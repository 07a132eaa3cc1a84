"""`make up`: ports, loopback, and that nothing is left running."""

import base64
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from pipeline.cli.app import main
from pipeline.cli.services import processes, up
from pipeline.cli.services.processes import Service, Supervisor
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.secret_files import secret
from pipeline.serving.pages import sign_in
from pipeline.training.tracking import Tracking

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


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """A supervisor of services, which is stopped at the end; `said` is what it told."""
    made: list[Supervisor] = []

    def supervise(*services: Service) -> Supervisor:
        made.append(Supervisor(services, tmp_path, tmp_path, (tmp_path / "said").open("a").write))
        return made[-1]

    yield supervise
    for each in made:
        each.stop()


def python(name: str, program: str, address: str | None = None) -> Service:
    return Service(name, [sys.executable, "-c", program], dict(os.environ), address)


def test_every_service_is_on_loopback_and_no_secret_is_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(sign_in.VARIABLE, raising=False)
    settings = Settings(root=tmp_path)
    services = up._services(settings, {"airflow": 1, "mlflow": 2, "datasette": 3})
    assert [service.name for service in services] == ["airflow", "scheduler", "dag-processor", "mlflow", "datasette"]
    assert all(service.address.startswith("http://127.0.0.1:") for service in services if service.address)
    arguments = [argument for service in services for argument in service.command]
    assert "0.0.0.0" not in arguments
    assert not [argument for argument in arguments if "mlflow.db" in argument]
    secrets = {file.name: file.read_text() for file in (settings.var / "secrets").iterdir()}
    assert set(secrets) == {"airflow_api", "airflow_jwt", "airflow_admin", "mlflow_admin", "mlflow_session", "pages"}
    assert len(set(secrets.values())) == len(secrets), "one secret a purpose"
    assert not [argument for argument in arguments if argument in secrets.values()]


def test_every_page_asks_who_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other users of the machine reach its loopback too."""
    monkeypatch.delenv(sign_in.VARIABLE, raising=False)
    settings = Settings(root=tmp_path)
    ports = {"airflow": 1, "mlflow": 2, "datasette": 3}
    services = {service.name: service for service in up._services(settings, ports)}
    assert services["datasette"].environment[sign_in.VARIABLE] == secret(settings.state, "pages")
    assert services["mlflow"].command[-2:] == ["--app-name", "basic-auth"]
    assert services["mlflow"].environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == secret(settings.state, "mlflow_admin")
    passwords = json.loads((settings.state.airflow / "passwords.json").read_text())
    assert passwords == {"admin": secret(settings.state, "airflow_admin")}


def test_mlflow_answers_nobody_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supervised: Callable[..., Supervisor]
) -> None:
    pytest.importorskip("flask_wtf", reason="the packages of mlflow[auth] are not installed")
    settings = Settings(root=tmp_path)
    ports = {"airflow": 1, "mlflow": up._port("mlflow", 0, None), "datasette": 3}
    [service] = [each for each in up._services(settings, ports) if each.name == "mlflow"]
    supervised(service).start()
    for path in ("", "/api/2.0/mlflow/registered-models/search", "/graphql", "/ajax-api/2.0/mlflow/experiments/search"):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{service.address}{path}", timeout=20)
        assert refused.value.code == 401
    create = Request(f"{service.address}/api/2.0/mlflow/registered-models/create", b'{"name": "mine"}')
    create.add_header("content-type", "application/json")
    with pytest.raises(HTTPError) as refused:
        urlopen(create, timeout=20)
    assert refused.value.code == 401
    for host in ("evil.example", "10.evil.example"):  # a name that leads here (DNS rebinding), the password or not
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"{service.address}/", headers={"host": host}), timeout=20)
        assert refused.value.code == 403
    password = base64.b64encode(f"admin:{secret(settings.state, 'mlflow_admin')}".encode()).decode()
    signed_in = Request(f"{service.address}/", headers={"authorization": f"Basic {password}"})
    with urlopen(signed_in, timeout=20) as answer:
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret(settings.state, "mlflow_admin"))
    assert service.address
    assert Tracking(service.address, settings.state).open_run("mine").run_id
    assert secret(settings.state, "mlflow_admin") not in (tmp_path / "mlflow.log").read_text()
    readers_of_mlflow_only_read(service.address, tmp_path)


def readers_of_mlflow_only_read(address: str, folder: Path) -> None:
    """An experiment says where its files go, be it into the folder of the DAGs."""
    auth = pytest.importorskip("mlflow.server.auth.client").AuthServiceClient(address)
    auth.create_user("reader", "a long password")
    password = base64.b64encode(b"reader:a long password").decode()

    def status(method: str, path: str, content: object) -> int:
        headers = {"authorization": f"Basic {password}", "content-type": "application/json"}
        try:
            with urlopen(Request(f"{address}{path}", json.dumps(content).encode(), headers, method=method)) as answer:
                return int(answer.status)
        except HTTPError as refused:
            return refused.code

    elsewhere = {"name": "elsewhere", "artifact_location": str(folder / "elsewhere")}
    writes = [
        *(("POST", f"/{api}/2.0/mlflow/experiments/create", elsewhere) for api in ("api", "ajax-api")),
        ("POST", "/api/2.0/mlflow/registered-models/create", {"name": "mine"}),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/search", "content"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/1/search", {"path": "1", "num_parts": 1}),
        ("POST", "/api/2.0/mlflow/users/create", {"username": "another", "password": "a long password"}),
    ]
    assert [status(*write) for write in writes] == [403] * len(writes)
    asking = {"experiment_ids": ["1"], "max_results": 1}
    for path in ("/api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/logged-models/search"):
        assert status("POST", path, asking) == 200
    assert not (folder / "elsewhere").exists()


def test_stopping_reaches_grandchildren_in_sessions_of_their_own(
    tmp_path: Path, supervised: Callable[..., Supervisor]
) -> None:
    supervisor = supervised(python("parent", PARENT))
    supervisor.start()
    while not (printed := (tmp_path / "parent.log").read_text().strip()):
        time.sleep(0.1)
    supervisor.stop()
    assert supervisor.running["parent"].poll() is not None
    grandchild = int(printed)
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_service_that_does_not_start_is_named_with_its_log(
    tmp_path: Path, supervised: Callable[..., Supervisor]
) -> None:
    failing = python("mlflow", "import sys; print('why'); sys.exit(3)", "http://127.0.0.1:9/")
    with pytest.raises(RecurError, match=r"mlflow ended by itself, with status 3: see .*mlflow\.log"):
        supervised(failing).start()
    assert (tmp_path / "mlflow.log").read_text() == "why\n"


def test_a_service_that_ends_is_started_again_alone(
    tmp_path: Path, supervised: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 0.2)
    supervisor = supervised(python("datasette", "import time; time.sleep(600)"), python("airflow", PARENT))
    supervisor.start()
    other = supervisor.running["airflow"].pid
    for _ in range(3):
        victim = supervisor.running["datasette"]
        victim.kill()
        while supervisor.running["datasette"] is victim:
            supervisor.look()
            time.sleep(0.02)
    supervisor.look()
    assert supervisor.running["datasette"].poll() is None
    assert supervisor.running["airflow"].pid == other
    assert supervisor.running["airflow"].poll() is None


def test_waiting_ends_when_a_service_answers(tmp_path: Path, supervised: Callable[..., Supervisor]) -> None:
    port = up._port("datasette", 0, None)
    program = [sys.executable, "-m", "http.server", str(port), "--bind", up.HOST]
    supervised(Service("datasette", program, dict(os.environ), f"http://{up.HOST}:{port}")).start()
    with socket.create_connection((up.HOST, port)) as connection:
        assert connection.getpeername() == (up.HOST, port)


def test_a_second_up_says_who_is_working(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with (
        settings.state.at_work("up", "never"),
        pytest.raises(RecurError, match=rf"its services run already .* \(process {os.getpid()} on .*\)"),
    ):
        up.up(settings, dict.fromkeys(up.PORTS))
