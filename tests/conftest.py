"""Which tests are slow, and the order of the files: those that take longest begin first, or one worker would run them
alone at the end.
"""

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

TESTS = Path(__file__).parent
LONGEST = (
    *("test_end_to_end.py", "test_models.py", "test_main_job.py", "test_promote.py", "test_fits.py"),
    *("test_state_updater.py", "test_contributing.py", "test_questions.py"),
)
SLOW = {
    "features/test_shard.py": "features of random worlds, by every reading of them",
    "models/networks/test_compiled.py": "trains networks",
    "models/recurrent/test_cells.py": "trains networks",
    "models/recurrent/test_hazard.py": "trains networks",
    "models/recurrent/test_stepping.py": "trains networks",
    "models/recurrent/test_twin.py": "trains networks",
    "models/test_models.py": "trains every model",
    "models/test_null_worlds.py": "makes large worlds",
    "models/test_planted_worlds.py": "trains networks",
    "models/test_stated_worlds.py": "trains networks",
    "models/test_tuning.py": "trains many models",
    "pipeline/cli/test_closing_report.py": "trains a world",
    "pipeline/cli/test_command_line.py": "runs the command",
    "pipeline/cli/test_forget.py": "trains a world",
    "pipeline/cli/test_main_job.py": "runs the main job",
    "pipeline/cli/test_replay.py": "trains a world",
    "pipeline/cli/test_services.py": "starts services",
    "pipeline/cli/upkeep": "trains a world",
    "pipeline/monitoring/test_drift.py": "trains a world",
    "pipeline/runtime/test_bootstrap.py": "makes environments",
    "pipeline/datasets/test_spark.py": "starts Spark",
    "pipeline/scoring": "trains a world",
    "pipeline/sources/test_late_rows.py": "loads many nights",
    "pipeline/sources/test_sql.py": "loads many nights",
    "pipeline/steps": "trains a world",
    "pipeline/training": "trains a world",
    "test_contributing.py": "tests copies of the project",
    "test_end_to_end.py": "runs the main job",
    "test_few_labels.py": "trains networks",
    "test_old_state.py": "runs the command",
    "test_questions.py": "trains a world for every question",
}
"""Files and folders that `make quick` leaves out, each with what takes its time: training, above all, and services."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if any(item.path.is_relative_to(TESTS / name) for name in SLOW):
            item.add_marker(pytest.mark.slow)


@event.listens_for(Engine, "connect")
def _wait_for_no_disk(connection: Any, _record: Any) -> None:
    """No test cuts the power: a database may lie in the system's memory for a while, which takes no other from it."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(autouse=True)
def _umask_stays() -> Iterator[None]:
    """The command sets it for its process, and its tests for a worker's: folders of later tests would be private."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to Ctrl-C, whatever a library, or a shell that runs the tests in the background, has set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
