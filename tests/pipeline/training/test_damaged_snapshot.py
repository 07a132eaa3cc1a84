"""Damage to what a training left is noticed before it is read, whatever reads it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.runtime.sealed import DamagedError
from pipeline.steps.compare import last_comparison, last_predictions
from pipeline.training.erasure import erase
from pipeline.training.evidence import read_evidence
from pipeline.training.fits import Training
from pipeline.training.snapshot import Snapshot, finished_trainings, read_meta
from tests.pipeline.conftest import World
from tests.support.worlds.damage import DAMAGES, harm
from tests.support.worlds.trained_world import FIRST, NAMES, snapshot_of

FILES = {
    "meta.json": lambda settings: read_meta(settings.state.snapshot(FIRST)),
    "comparison.json": lambda settings: last_comparison(settings.state),
    "test_predictions.parquet": lambda settings: last_predictions(settings.state),
    "results/recency.json": lambda settings: _evidence(settings),
    "predictions/recency.parquet": lambda settings: _evidence(settings),
    "altered/recency.parquet": lambda settings: _evidence(settings),
    "shards/00000/aggregates.parquet": lambda settings: snapshot_of(settings),
    "shards/00000/dataset.json": lambda settings: snapshot_of(settings),
    "shards/00000/steps/00000.parquet": lambda settings: snapshot_of(settings),
}


def _evidence(settings: Settings) -> object:
    data = snapshot_of(settings)
    return read_evidence(settings.state.snapshot(FIRST), data, NAMES)


@pytest.mark.parametrize(("name", "read"), FILES.items(), ids=FILES)
def test_damage_is_told_with_the_way_back(own_world: World, name: str, read: Callable[[Settings], object]) -> None:
    settings, folder = own_world.settings, own_world.settings.state.snapshot(FIRST)
    file = folder / name
    content = file.read_bytes()
    read(settings)
    for damage in DAMAGES:
        harm(file, damage)
        with pytest.raises(DamagedError, match=rf"{name} .*: remove {folder} and make it again with `recur train --c"):
            read(settings)
        file.write_bytes(content)
    read(settings)


def test_a_training_is_not_finished_by_a_damaged_mark(own_world: World) -> None:
    settings, folder = own_world.settings, own_world.settings.state.snapshot(FIRST)
    assert finished_trainings(settings.state, settings.question.digest) == [FIRST]
    harm(folder / "promotion.json", "one bit")
    with pytest.raises(DamagedError, match=r"promotion\.json is damaged"):
        finished_trainings(settings.state, settings.question.digest)


@pytest.mark.parametrize("kind", ["json", "parquet", "altered.parquet"])
def test_a_damaged_fit_counts_as_none(own_world: World, kind: str) -> None:
    settings, folder = own_world.settings, own_world.settings.state.snapshot(FIRST)
    training = Training(snapshot_of(settings), settings.evidence, settings.run.seed, folder)
    files = training.files("recency", next(training.windows()), 0)
    assert files is not None
    file = folder / "contenders" / "recency" / f"0-0.{kind}"
    content = file.read_bytes()
    assert files.read() is not None
    for damage in DAMAGES:
        harm(file, damage)
        assert files.read() is None
        file.write_bytes(content)


def test_forgetting_describes_what_it_leaves_and_no_damage(own_world: World) -> None:
    settings, folder = own_world.settings, own_world.settings.state.snapshot(FIRST)
    customer = str(snapshot_of(settings).data.customer_id[0])
    file = folder / "shards" / "00000" / "examples.parquet"
    content = file.read_bytes()
    harm(file, "one bit")
    with pytest.raises(DamagedError, match=r"examples\.parquet is damaged"):
        erase(settings.state, customer)
    file.write_bytes(content)
    assert erase(settings.state, customer)
    assert customer not in Snapshot.read(folder, settings.question).data.customer_id
    harm(file, "one bit")
    with pytest.raises(DamagedError, match=r"examples\.parquet is damaged"):
        snapshot_of(settings)


def test_a_snapshot_without_a_description_is_that_of_an_earlier_recur(own_world: World) -> None:
    folder: Path = own_world.settings.state.snapshot(FIRST)
    for manifest in folder.rglob("_manifest.json"):
        manifest.unlink()
    assert len(snapshot_of(own_world.settings).data)
    assert last_comparison(own_world.settings.state)["models"]
