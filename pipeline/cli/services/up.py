"""`make up`: Airflow (really scheduling), the MLflow UI and the analysts' page, on loopback, stopped together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipeline.cli.services.mlflow_sign_in import authorize
from pipeline.cli.services.processes import Service, Supervisor
from pipeline.config.settings import Settings
from pipeline.runtime.airflow import environment
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.runtime.secret_files import secret
from pipeline.serving.database import open_predictions
from pipeline.serving.datasette import HOST, command
from pipeline.serving.datasette import environment as pages_environment
from pipeline.serving.pages import sign_in
from pipeline.training.tracking import without_password

STOPS = (signal.SIGINT, signal.SIGTERM)
MLFLOW_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
PORTS = {"airflow": 8080, "mlflow": 5000, "datasette": 8001}


def up(settings: Settings, ports: dict[str, int | None]) -> None:
    """Run everything until Ctrl-C or SIGTERM, then stop it all, grandchildren included. A service that ends is started
    again, alone.

    `ports` names ports for the services of `PORTS`, None for the default. A named port must be free; a default one that
    is not free is replaced.
    Raises RecurError where the services of this state folder run already, and, naming the log, where a service does not
    start.
    """
    console, state = Console(highlight=False), settings.state
    with state.at_work("up", f"its services run already under {state.path}: stop those first"):
        chosen = {name: _port(name, default, ports[name]) for name, default in PORTS.items()}
        state.logs.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor([], state.logs, settings.var, lambda line: console.print(line, soft_wrap=True))
        before = {number: signal.signal(number, _as_interrupt) for number in STOPS}
        try:
            with console.status("starting …"):
                _prepare_airflow(state, settings.file)
                supervisor.services = _services(settings, chosen)
                supervisor.start()
            _print_addresses(console, settings, supervisor.services)
            while True:
                supervisor.look()
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print("stopping …")
        finally:
            supervisor.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
    console.print("stopped; `make up` starts them again")


def _services(settings: Settings, ports: dict[str, int]) -> list[Service]:
    state = settings.state
    airflow, python = {**os.environ, **environment(state, settings.file, ports["airflow"])}, sys.executable
    airflow["PATH"] = f"{Path(python).parent}{os.pathsep}{airflow.get('PATH', '')}"
    services = [
        Service("airflow", [python, "-m", "airflow", "api-server"], airflow, f"http://{HOST}:{ports['airflow']}"),
        Service("scheduler", [python, "-m", "airflow", "scheduler", "--skip-serve-logs"], airflow),
        Service("dag-processor", [python, "-m", "airflow", "dag-processor"], airflow),
    ]
    if not settings.mlflow.startswith(("http://", "https://")):
        # The address goes by the environment, as it may hold a password and arguments can be seen by all.
        mlflow = {**os.environ, "MLFLOW_BACKEND_STORE_URI": settings.mlflow, **MLFLOW_QUIET, **_mlflow_sign_in(state)}
        # By default it answers to 10.* too, as which a page elsewhere may be called (DNS rebinding).
        mlflow["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"{HOST}:{ports['mlflow']},localhost:{ports['mlflow']}"
        where = ["--host", HOST, "--port", str(ports["mlflow"])]
        served = [python, "-m", "mlflow", "server", *where, "--workers", "1", "--app-name", "basic-auth"]
        services.append(Service("mlflow", served, mlflow, f"http://{HOST}:{ports['mlflow']}"))
    predictions = open_predictions(settings.predictions, settings.root)
    pages = command(predictions, state, ports["datasette"])
    signed = {**os.environ, **pages_environment(predictions), sign_in.VARIABLE: _pages_password(state)}
    services.append(Service("datasette", pages, signed, f"http://{HOST}:{ports['datasette']}"))
    return services


def _pages_password(state: StateFolder) -> str:
    """The environment's, else one of this state folder's own: other users of this machine reach its loopback too."""
    return sign_in.password() or secret(state, "pages")


def _mlflow_sign_in(state: StateFolder) -> dict[str, str]:
    """The variables under which MLflow's server asks who calls: whoever may write there decides what serves."""
    file = state.path / "mlflow" / "sign_in.ini"
    content = f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{file.with_name('users.db')}\n"
    content += f"admin_username = admin\nauthorization_function = {authorize.__module__}:{authorize.__name__}\n"
    with atomically(file) as temporary:
        temporary.write_text(content, "utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(file),
        "MLFLOW_AUTH_ADMIN_PASSWORD": secret(state, "mlflow_admin"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret(state, "mlflow_session"),
    }


def _print_addresses(console: Console, settings: Settings, services: list[Service]) -> None:
    """On the console alone: no log holds a password."""
    addresses = {service.name: service.address for service in services if service.address}

    def show(line: str) -> None:
        console.print(line, soft_wrap=True)

    show(f"Airflow      {addresses['airflow']}   sign in as admin, password {secret(settings.state, 'airflow_admin')}")
    if "mlflow" in addresses:
        show(
            f"MLflow       {addresses['mlflow']}   sign in as admin, password {secret(settings.state, 'mlflow_admin')}"
        )
    else:
        show(f"MLflow       {without_password(settings.mlflow)}   experiment recur")
    password = sign_in.VARIABLE if sign_in.password() else secret(settings.state, "pages")
    show(f"predictions  {addresses['datasette']}   read-only, sign in with any name, password {password}")
    show("Ctrl-C stops them all.")


def _port(name: str, default: int, named: int | None) -> int:
    """The port for a service: the named one, else its default, else any that is free."""
    for port in (named,) if named else (default, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise ConfigurationError(f"port {named} for {name} is in use or may not be used: name another, or none")


def _prepare_airflow(state: StateFolder, configuration: Path | None) -> None:
    """Makes Airflow's database in a process of its own: this one stays small."""
    with (state.logs / "airflow.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.runtime.airflow"],
            env={**os.environ, **environment(state, configuration)},
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        raise RecurError(f"Airflow's database under {state.airflow} cannot be prepared: see {log.name}")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal stops the services; further ones, while they are being stopped, are ignored."""
    for stop in STOPS:
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt
