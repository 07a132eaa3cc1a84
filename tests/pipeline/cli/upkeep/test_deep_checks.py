"""`recur check --deep` finds every damage, says what it costs, and `--repair` makes again what can be made again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.cli.app import main
from pipeline.cli.upkeep.backup import backup
from pipeline.cli.upkeep.deep_checks import deep_checks
from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.described import described
from pipeline.runtime.errors import RecurError
from pipeline.scoring.checkpoints import Checkpoints, checkpoint_folders
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.shard import StateShard
from pipeline.serving import database
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.training.registry import open_registry
from pipeline.training.tracking import _client
from tests.pipeline.conftest import World
from tests.support.worlds.damage import harm
from tests.support.worlds.trained_world import FIRST, NEXT, night


@pytest.fixture
def settings(own_world: World) -> Settings:
    """A trained world with a published night."""
    score(own_world.settings, night(FIRST))
    publish(own_world.settings, night(FIRST))
    return own_world.settings


def wrong(settings: Settings, repair: bool = False) -> Iterator[tuple[str, str]]:
    return ((each.what, each.words) for each in deep_checks(settings, repair) if each.state == "wrong")


def test_a_whole_state_is_right(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--config", str(settings.file), "check", "--deep"])
    assert " right, 0 to look at, 0 wrong" in capfd.readouterr().out


def test_what_cannot_be_made_again_is_told_with_its_cost(settings: Settings) -> None:
    champion = open_registry(settings).champion()
    assert champion is not None
    [model] = settings.var.glob(f"mlartifacts/{champion.run_id}/artifacts/model/recipe.json")
    harmed = {
        settings.events / "2020-08-02.parquet": ("one bit", "no night from 2020-08-02 on is scored"),
        model: ("one bit", "no night is scored"),
        settings.state.scored(night(FIRST)): ("truncated", "its night cannot be published again"),
    }
    for file, (damage, _) in harmed.items():
        harm(file, damage)
    faults = [words for _, words in wrong(settings, repair=True)]
    for file, (_, cost) in harmed.items():
        assert any(cost in words and (file.name in words or champion.run_id in words) for words in faults), faults


def test_a_damaged_database_is_told(settings: Settings) -> None:
    file = settings.var / "predictions.db"
    content = bytearray(file.read_bytes())
    for page in range(4096, len(content), 4096):  # every page but the first
        content[page : page + 8] = b"\xff" * 8
    file.write_bytes(content)
    assert any("readers may see other predictions" in words for what, words in wrong(settings) if "database" in what)


def test_what_can_be_made_again_is(settings: Settings) -> None:
    registry = open_registry(settings)
    champion = registry.champion()
    assert champion is not None
    [folder] = checkpoint_folders(settings.state)
    [published] = (settings.var / "published").rglob("*.parquet")
    before = pd.read_parquet(published)
    harm(folder / "0000.customers.arrow", "one bit")
    harm(settings.var / "models" / champion.run_id / "recipe.json", "one bit")
    harm(published, "truncated")
    with described(settings.var / "staged", "2020-08-01.parquet") as staged:
        staged.write_bytes(b"rows, which come again with their night")
    harm(settings.var / "staged" / "2020-08-01.parquet", "one bit")
    assert {what for what, _ in wrong(settings)} == {"every model", "carried state", "published files", "other files"}
    assert not list(wrong(settings, repair=True))
    assert not list(wrong(settings))
    pd.testing.assert_frame_equal(pd.read_parquet(published), before, check_exact=True)
    assert not folder.exists()
    registry.load(champion)
    score(settings, night(FIRST))


def test_a_carried_sample_is_held_against_whole_histories(settings: Settings) -> None:
    champion = open_registry(settings).champion()
    assert champion is not None
    [checkpoint] = Checkpoints(settings.state, champion).complete()
    shard = StateShard.read(checkpoint.folder, 0, ScoringInputs.open(settings).spec.categorical)
    last = shard.last.copy()
    last[np.arange(0, len(last), 2)] -= 1  # sealed as it is: no digest tells
    StateShard(**{**vars(shard), "last": last}).write(checkpoint.folder, 0)
    [(what, words)] = wrong(settings)
    assert what == "a carried sample"
    assert "are carried otherwise than their histories give" in words
    assert not list(wrong(settings, repair=True))
    score(settings, night(FIRST))
    assert not list(wrong(settings))


def test_a_moved_state_writes_into_itself_once_it_is_repaired(settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(settings.root, tmp_path / "staging")
    moved = load_settings(tmp_path / "staging" / "recur.toml")
    with pytest.raises(RecurError, match="where this state lay before it was moved or copied: run `recur check --rep"):
        backup(moved, tmp_path / "backup")
    [(what, words)] = wrong(moved)
    assert what == "artefacts"
    assert f"MLflow's artefacts are those of {settings.var}: models are read from there" in words
    shutil.rmtree(moved.var / "models")
    assert not list(wrong(moved, repair=True))
    shutil.rmtree(settings.var / "mlartifacts")
    score(moved, night(FIRST))


def test_the_predictions_are_put_back_from_a_backup(settings: Settings, tmp_path: Path) -> None:
    """The file, and what stands beside it: without that the copy is taken for an older one, which it is."""
    backup(settings, tmp_path / "backup")
    score(settings, night(NEXT))
    publish(settings, night(NEXT))
    file = settings.var / "predictions.db"
    for each in settings.var.glob("predictions.db*"):
        each.unlink()
    shutil.copy(tmp_path / "backup" / file.name, file)
    shutil.copy(tmp_path / "backup" / "var" / f"{file.name}.published", settings.var)
    database._engines.clear()
    score(settings, night(NEXT))
    publish(settings, night(NEXT))
    assert not list(wrong(settings))


def test_the_database_of_mlflow_is_put_back_and_repaired(settings: Settings, tmp_path: Path) -> None:
    """In a backup it names no folder."""
    backup(settings, tmp_path / "backup")
    shutil.copy(tmp_path / "backup" / "mlflow.db", settings.var / "mlflow.db")
    shutil.rmtree(settings.var / "models")
    _client.cache_clear()
    with pytest.raises(RecurError, match=r"was taken out of a backup, .*: run `recur check --repair`"):
        score(settings, night(FIRST))
    assert {what for what, _ in wrong(settings)} == {"artefacts"}
    assert not list(wrong(settings, repair=True))
    score(settings, night(FIRST))


def test_a_copy_of_a_lost_file_is_put_back(settings: Settings, tmp_path: Path) -> None:
    """The way back of an object: from a backup, under its name."""
    backup(settings, tmp_path / "backup")
    file = settings.events / "2020-08-02.parquet"
    file.unlink()
    with pytest.raises(RecurError, match="is missing: put it back from a backup"):
        score(settings, night(FIRST))
    file.write_bytes((tmp_path / "backup" / "events" / file.name).read_bytes())
    score(settings, night(FIRST))
    assert not list(wrong(settings))
