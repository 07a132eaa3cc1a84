"""Airflow for the tests that import it: a home of their own, set before the first import."""

import os

import pytest


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    from pipeline.runtime.airflow import environment
    from pipeline.runtime.paths import StateFolder

    os.environ.update(environment(StateFolder(tmp_path_factory.mktemp("airflow")), None))
