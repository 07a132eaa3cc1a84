"""What the tests of the pipeline share: a world that was trained once, and the same world before that."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.settings import Settings


@dataclass(frozen=True)
class World:
    """A trained world. Its tests read it; those that change something take `fresh_world`, or another folder."""

    settings: Settings
    events: pd.DataFrame


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run: making it takes seconds, copying it none. And which of its migrations is the
    last: to know it, MLflow reads all of them whenever it opens a database.
    """
    from mlflow.store.db import utils

    from pipeline.training.tracking import Tracking

    settings = Settings(root=tmp_path_factory.mktemp("mlflow"))
    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)
    _ = Tracking(settings.mlflow, settings.state).client
    return settings.var / "mlflow.db"


@pytest.fixture(scope="session")
def trained_world(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> World:
    """The made-up world, trained as of its first night."""
    from tests.support.worlds.trained_world import FIRST, run_training

    world = _untrained(tmp_path_factory.mktemp("trained"), empty_mlflow)
    run_training(world.settings, FIRST)
    return world


@pytest.fixture
def fresh_world(tmp_path: Path, empty_mlflow: Path) -> World:
    """The same world, with its nights loaded and nothing trained."""
    return _untrained(tmp_path, empty_mlflow)


@pytest.fixture
def own_world(tmp_path: Path, trained_world: World) -> Iterator[World]:
    """A copy of the trained world, for a test that changes something. MLflow remembers where a run's files lie by the
    run alone, which is the same in the copy.
    """
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as remembered

    from pipeline.config.settings import load_settings
    from tests.support.worlds.one_night import copy_world

    folder = tmp_path / "copy"
    copy_world(trained_world.settings.root, folder)
    remembered.clear()
    yield World(load_settings(folder / "recur.toml"), trained_world.events)
    remembered.clear()


def _untrained(folder: Path, empty_mlflow: Path) -> World:
    from pipeline.cli.upkeep.locations import relocate
    from tests.support.worlds.trained_world import made_up_events, make_world

    events = made_up_events()
    settings = make_world(folder, events)
    settings.var.mkdir(exist_ok=True)
    shutil.copy(empty_mlflow, settings.var / "mlflow.db")
    relocate(settings.var / "mlflow.db", empty_mlflow.parent, settings.var)
    return World(settings, events)
