"""Airflow for the tests that import it: a home of their own, set before the first import."""

import os

import pytest


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    from pipeline.config.settings import Settings
    from pipeline.runtime.airflow import environment

    os.environ.update(environment(Settings(root=tmp_path_factory.mktemp("airflow"))))
