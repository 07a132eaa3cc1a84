"""Several seeds and trials: the same for every model, told to MLflow, and carried through to the comparison."""

import json

import numpy as np
import pandas as pd
import pytest

from models.evidence.altered import ALTERED
from pipeline import paths, tracking
from pipeline.compare import compare, last_comparison, last_predictions
from pipeline.errors import RecurError
from pipeline.evidence import read_evidence
from pipeline.fits import WITHOUT_STATE
from pipeline.snapshot import read_meta, snapshot
from pipeline.train import train
from tests.pipeline.conftest import World
from tests.pipeline.trained_world import FIRST

NAMES = ("random_forest", "hybrid_gru")


@pytest.fixture(scope="module")
def spent(trained_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same world, two models of two seeds each, the forest tuned by two trials."""
    settings = trained_world.settings
    models = settings.models.model_copy(update={"names": NAMES, "trials": 2, "max_epochs": 1})
    evidence = settings.evidence.model_copy(update={"seeds": 2})
    place = settings.paths.model_copy(update={"var": str(tmp_path_factory.mktemp("spent"))})
    addresses = settings.addresses.model_copy(update={"events": str(settings.events)})
    changed = {"models": models, "evidence": evidence, "paths": place, "addresses": addresses}
    world = World(settings.model_copy(update=changed), trained_world.events)
    snapshot(world.settings, FIRST)
    for name in NAMES:
        train(world.settings, FIRST, name)
    compare(world.settings, FIRST)
    return world


def test_every_seed_counts_alike(spent: World) -> None:
    comparison = last_comparison(spent.settings)
    rows = pd.read_parquet(last_predictions(spent.settings))
    for model in comparison["models"]:
        own = rows[rows["model"] == model["name"]]
        said = np.where(own["label"] == 1, own["probability"], 1 - own["probability"])
        losses = pd.Series(-np.log(said))
        each = losses.groupby(own["seed"].to_numpy())
        assert model["log_loss_by_seed"] == pytest.approx(each.mean().tolist())
        assert len(set(model["log_loss_by_seed"])) == 2
        assert model["metrics"]["log_loss"]["value"] == pytest.approx(losses.mean())


def test_every_trial_is_a_run_of_its_own(spent: World) -> None:
    runs = read_evidence(spent.settings, FIRST).results
    client = tracking.client(spent.settings)
    for result in runs:
        experiment = client.get_run(result.run_id).info.experiment_id
        children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{result.run_id}'")
        assert sorted(child.info.run_name for child in children) == [f"{result.name} trial {n}" for n in (0, 1)]
        assert all(child.data.metrics["valid_log_loss"] > 0 for child in children)


def test_what_was_altered_is_told_of_the_models_that_read_sequences(spent: World) -> None:
    forest, hybrid = last_comparison(spent.settings)["models"]
    assert forest["log_loss_change"] == {}
    assert list(hybrid["log_loss_change"]) == [*ALTERED, WITHOUT_STATE]


def test_a_model_of_another_budget_is_refused(spent: World) -> None:
    file = paths.snapshot(spent.settings, FIRST) / "results" / "hybrid_gru.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"budget": "100 trials"}))
    with pytest.raises(RecurError, match=r"hybrid_gru .* had 100 trials, and random_forest 2 trials"):
        compare(spent.settings, FIRST)
    file.write_text(before)
    assert read_meta(spent.settings, FIRST)["windows"]
