"""Several seeds and trials: the same for every model, told to MLflow, and carried through to the comparison."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.evaluation.ablation import ABLATIONS
from models.recurrent.hybrid_gru import HybridGRU
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.steps.compare import compare, last_comparison, last_predictions
from pipeline.steps.snapshot import snapshot
from pipeline.steps.train import train
from pipeline.training import ablations as trained_ablations
from pipeline.training.ablations import AS_IT_IS, WITHOUT_STATE
from pipeline.training.registry import open_registry
from pipeline.training.snapshot import describe_snapshot
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST, made_up_events, make_world

NAMES = ("random_forest", "gru", "logistic_regression")


def elsewhere(world: World, folder: Path, spending: dict[str, Any], seeds: int = 1) -> Settings:
    """The settings of the world with other spending, its nights read from where they are, all else in `folder`."""
    settings = world.settings
    changed = {
        "models": settings.models.model_copy(update={"names": NAMES, "max_epochs": 1, **spending}),
        "evidence": settings.evidence.model_copy(update={"seeds": seeds}),
        "paths": settings.paths.model_copy(update={"var": str(folder)}),
        "addresses": settings.addresses.model_copy(update={"events": str(settings.events)}),
    }
    return settings.model_copy(update=changed)


@pytest.fixture(scope="module")
def seeded(fresh_nights: World, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two models of two seeds each, compared."""
    settings = elsewhere(fresh_nights, tmp_path_factory.mktemp("seeded"), {}, seeds=2)
    snapshot(settings, FIRST)
    for name in NAMES:
        train(settings, FIRST, name)
    compare(settings, FIRST)
    return settings


@pytest.fixture(scope="module")
def fresh_nights(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The made-up world with its nights loaded and nothing trained."""
    events = made_up_events(customers=80)
    return World(make_world(tmp_path_factory.mktemp("nights"), events), events)


def test_every_seed_counts_alike(seeded: Settings) -> None:
    comparison = last_comparison(seeded.state)
    rows = pd.read_parquet(last_predictions(seeded.state))
    for model in comparison["models"]:
        own = rows[rows["model"] == model["name"]]
        said = np.where(own["label"] == 1, own["probability"], 1 - own["probability"])
        losses = pd.Series(-np.log(said))
        each = losses.groupby(own["seed"].to_numpy())
        assert model["log_loss_by_seed"] == pytest.approx(each.mean().tolist())
        # Where the seed changes nothing, one fit counts for each.
        assert len(set(model["log_loss_by_seed"])) == (1 if model["name"] == "logistic_regression" else 2)
        assert model["metrics"]["log_loss"]["value"] == pytest.approx(losses.mean())


def test_every_trial_is_a_run_of_its_own(fresh_nights: World, tmp_path: Path) -> None:
    settings = elsewhere(fresh_nights, tmp_path, {"trials": 2})
    snapshot(settings, FIRST)
    run_id = train(settings, FIRST, "random_forest")
    client = open_registry(settings).tracking.client
    experiment = client.get_run(run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert sorted(str(child.info.run_name) for child in children) == [f"random_forest trial {n}" for n in (0, 1)]
    assert all(child.data.metrics["valid_log_loss"] > 0 for child in children)


def test_what_was_altered_is_told_of_the_models_that_read_sequences(seeded: Settings) -> None:
    forest, gru, _ = last_comparison(seeded.state)["models"]
    assert forest["log_loss_change"] == {}
    assert list(gru["log_loss_change"]) == list(ABLATIONS)


def test_recipes_are_trained_on_altered_histories_where_that_is_asked_for(
    fresh_nights: World, tmp_path: Path, seeded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_ablations, "RETRAINED_SEEDS", 1)
    monkeypatch.setitem(HybridGRU.defaults, "seeds", 1)
    settings = elsewhere(fresh_nights, tmp_path, {"names": ("recency", "hybrid_gru")})
    evidence = settings.evidence.model_copy(update={"retrained_ablations": True})
    settings = settings.model_copy(update={"evidence": evidence})
    snapshot(settings, FIRST)
    for name in settings.models.names:
        train(settings, FIRST, name)
    compare(settings, FIRST)
    rule, hybrid = last_comparison(settings.state)["models"]
    assert rule["log_loss_change_retrained"] == {}
    assert list(hybrid["log_loss_change_retrained"]) == list(hybrid["log_loss_change"])
    assert list(hybrid["log_loss_change"]) == [*ABLATIONS, WITHOUT_STATE]
    table = pd.read_parquet(settings.state.snapshot(FIRST) / "altered" / "hybrid_gru.parquet")
    again = table[table["retrained"].notna()]
    assert set(again["altered"]) == {AS_IT_IS, *ABLATIONS, WITHOUT_STATE}
    assert again.groupby("altered")["retrained"].nunique().tolist() == [1] * 5
    assert [model["log_loss_change_retrained"] for model in last_comparison(seeded.state)["models"]] == [{}] * 3


def test_a_model_of_another_budget_is_refused(seeded: Settings) -> None:
    file = seeded.state.snapshot(FIRST) / "results" / "gru.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"budget": "100 trials"}))
    describe_snapshot(file.parents[1])
    with pytest.raises(RecurError, match=r"gru .* had 100 trials, and random_forest 0 trials"):
        compare(seeded, FIRST)
    file.write_text(before)
    describe_snapshot(file.parents[1])
