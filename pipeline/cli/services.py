"""`make up`: Airflow (really scheduling), the MLflow UI and the analysts' page, on loopback, stopped together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from pipeline.config.settings import Settings
from pipeline.runtime.airflow import environment
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.paths import StateFolder
from pipeline.serving.database import open_predictions
from pipeline.serving.datasette import HOST, command
from pipeline.serving.pages import sign_in

STOPS = (signal.SIGINT, signal.SIGTERM)
READY_SECONDS, STOP_SECONDS = 180, 15
MLFLOW_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
PORTS = {"airflow": 8080, "mlflow": 5000, "datasette": 8001}


@dataclass(frozen=True)
class Service:
    """A process to keep running, and the address at which it answers (None for one that nobody calls)."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    address: str | None = None


def up(settings: Settings, ports: dict[str, int | None]) -> None:
    """Run everything until Ctrl-C or SIGTERM, then stop it all, grandchildren included.

    `ports` names ports for the services of `PORTS`, None for the default. A named port must be free; a default one that
    is not free is replaced.
    Raises RecurError, which names the log, where a service ends by itself or does not answer.
    """
    console = Console(highlight=False)
    chosen = {name: _port(name, default, ports[name]) for name, default in PORTS.items()}
    logs = settings.state.logs
    logs.mkdir(parents=True, exist_ok=True)
    running: dict[str, subprocess.Popen[bytes]] = {}
    before = {number: signal.signal(number, _as_interrupt) for number in STOPS}
    try:
        with console.status("starting …"):
            _prepare_airflow(settings.state, settings.file)
            services = _services(settings, chosen)
            for service in services:
                running[service.name] = _start(service, logs, settings.var)
            for service in services:
                _await(service, running, logs)
        _print_addresses(console, settings.mlflow, settings.state.airflow / "passwords.json", services)
        while True:
            _require_all(running, logs)
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping …")
    finally:
        _stop(list(running.values()))
        for number, handler in before.items():
            signal.signal(number, handler)


def _services(settings: Settings, ports: dict[str, int]) -> list[Service]:
    airflow, python = {**os.environ, **environment(settings.state, settings.file, ports["airflow"])}, sys.executable
    airflow["PATH"] = f"{Path(python).parent}{os.pathsep}{airflow.get('PATH', '')}"
    services = [
        Service("airflow", [python, "-m", "airflow", "api-server"], airflow, f"http://{HOST}:{ports['airflow']}"),
        Service("scheduler", [python, "-m", "airflow", "scheduler", "--skip-serve-logs"], airflow),
        Service("dag-processor", [python, "-m", "airflow", "dag-processor"], airflow),
    ]
    if not settings.mlflow.startswith(("http://", "https://")):
        # The address goes by the environment, as it may hold a password and arguments can be seen by all.
        mlflow = {**os.environ, "MLFLOW_BACKEND_STORE_URI": settings.mlflow, **MLFLOW_QUIET}
        served = [python, "-m", "mlflow", "server", "--host", HOST, "--port", str(ports["mlflow"]), "--workers", "1"]
        services.append(Service("mlflow", served, mlflow, f"http://{HOST}:{ports['mlflow']}"))
    if settings.predictions.startswith("sqlite"):
        predictions = open_predictions(settings.predictions, settings.root)
        pages = command(predictions, settings.state, ports["datasette"])
        services.append(Service("datasette", pages, dict(os.environ), f"http://{HOST}:{ports['datasette']}"))
    return services


def _print_addresses(console: Console, mlflow: str, passwords: Path, services: list[Service]) -> None:
    addresses = {service.name: service.address for service in services if service.address}
    password = json.loads(passwords.read_text("utf-8")).get("admin", "")
    console.print(f"Airflow      {addresses['airflow']}   sign in as admin, password {password}", soft_wrap=True)
    console.print(f"MLflow       {addresses.get('mlflow', mlflow)}   Model training, experiment recur", soft_wrap=True)
    if "datasette" in addresses:
        how = f"sign in with {sign_in.VARIABLE}" if sign_in.password() else "no sign-in"
        console.print(f"predictions  {addresses['datasette']}   read-only, {how}", soft_wrap=True)
    else:
        console.print("predictions  are in PostgreSQL: read the views there, or with `recur query`", soft_wrap=True)
    console.print("Ctrl-C stops them all.")


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


def _start(service: Service, logs: Path, folder: Path) -> subprocess.Popen[bytes]:
    """The process, in a session of its own, so that a Ctrl-C reaches it through `_stop` alone."""
    with (logs / f"{service.name}.log").open("ab") as log:
        return subprocess.Popen(
            service.command,
            env=service.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await(service: Service, running: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Until `service` answers at its address, whatever it answers."""
    deadline = time.monotonic() + READY_SECONDS
    while service.address and time.monotonic() < deadline:
        _require_all(running, logs)
        try:
            with urllib.request.urlopen(service.address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    if service.address:
        raise RecurError(f"{service.name} does not answer at {service.address}: see {logs / service.name}.log")


def _require_all(running: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    for name, process in running.items():
        if process.poll() is not None:
            raise RecurError(f"{name} ended by itself, with status {process.returncode}: see {logs / name}.log")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask every process and its descendants to end, then make them: some put themselves into groups of their own."""
    family: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            family += [parent, *parent.children(recursive=True)]
    for act, patience in ((psutil.Process.terminate, STOP_SECONDS), (psutil.Process.kill, 5)):
        for member in family:
            with suppress(psutil.NoSuchProcess):
                act(member)
        _, family = psutil.wait_procs(family, timeout=patience)
    for process in processes:
        process.wait()


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal stops the services; further ones, while they are being stopped, are ignored."""
    for stop in STOPS:
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt
