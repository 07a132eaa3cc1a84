"""A pool is a champion like any other: registered, scored every night from carried state and sums, and explained."""

import json

import numpy as np
import pandas as pd
import pytest

from models import POOLED, model_class
from models.base import Model
from models.pools.pool import Pool
from models.pools.recurrent_pool import RecurrentPool
from models.pools.twin_pool import TwinPool
from pipeline.scoring import predict
from pipeline.scoring.explain import explain
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.whole_histories import read_night
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.training.registry import Registry, open_registry
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST, LATER, LONGER, NEXT, PRIMARY, night, snapshot_of

HORIZONS = (PRIMARY, LONGER)
MEMBERS = ("lightgbm", "logistic_regression", "random_forest")
SMALL = {
    "random_forest": {"trees": 20},
    "lightgbm": {"max_rounds": 60},
    "hybrid_gru": {"max_epochs": 1, "units": 6, "seeds": 1},
}


@pytest.fixture(scope="module")
def pools(trained_world: World) -> dict[str, Pool]:
    train = snapshot_of(trained_world.settings).part("train", 0)
    members: dict[str, Model] = {
        name: model_class(name)(HORIZONS, 3, **SMALL.get(name, {})) for name in (*POOLED, "hybrid_gru")
    }
    twin = members["hybrid_gru"].twin()
    assert twin is not None
    for member in (*members.values(), twin):
        member.fit(train, None)
    with_twin = members | {"hybrid_gru": twin}
    return {
        "recurrent_pool": RecurrentPool.of(HORIZONS, 3, members, member="hybrid_gru"),
        "twin_pool": TwinPool.of(HORIZONS, 3, with_twin, member="hybrid_gru"),
    }


@pytest.fixture(params=["recurrent_pool", "twin_pool"])
def registry(request: pytest.FixtureRequest, own_world: World, pools: dict[str, Pool]) -> Registry:
    """With the pool as its champion."""
    registry = open_registry(own_world.settings)
    run = registry.tracking.open_run(request.param)
    version = registry.register(run, pools[request.param], request.param, snapshot_of(own_world.settings))
    run.finish()
    registry.set_champion(version.number)
    return registry


def test_a_version_of_a_pool_has_its_recipe(registry: Registry, pools: dict[str, Pool]) -> None:
    champion = registry.champion()
    assert champion is not None
    pool = registry.load(champion)
    assert isinstance(pool, Pool)
    assert champion.spec.parameters == json.loads(json.dumps(pools[champion.name].parameters))
    assert pool.parameters == champion.spec.parameters
    assert sorted(pool.members) == sorted([*POOLED, "hybrid_gru"])


def test_every_night_is_scored_from_what_is_carried(
    registry: Registry, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, champion = own_world.settings, registry.champion()
    assert champion is not None
    monkeypatch.setattr(predict, "read_night", None)  # whole histories are not asked for predictions
    for cutoff in (FIRST, NEXT, LATER):
        score(settings, night(cutoff))
        rows = pd.read_parquet(settings.state.scored(night(cutoff)))
        data = read_night(ScoringInputs.open(settings), cutoff).data
        expected = registry.load(champion).predict(data)
        assert rows["customer_id"].tolist() == np.repeat(data.customer_id, 2).tolist()
        for name in ("churn_probability", "expected_purchases", "expected_spend"):
            np.testing.assert_allclose(rows[name], getattr(expected, name).ravel(), rtol=1e-5)
        has_curve = (rows["horizon_days"] == LONGER) & (champion.name == "recurrent_pool")
        assert rows["curve"].notna().equals(has_curve)
        for curve, churn in zip(rows["curve"][has_curve], expected.churn_probability, strict=False):
            np.testing.assert_allclose([json.loads(curve)[day - 1] for day in HORIZONS], churn, atol=1e-4)


def test_a_night_has_reasons_and_explain_agrees(registry: Registry, own_world: World) -> None:
    settings = own_world.settings
    score(settings, night(LATER))
    publish(settings, night(LATER))
    rows = pd.read_parquet(settings.state.scored(night(LATER))).query(f"horizon_days == {PRIMARY}")
    told = rows[rows["reasons"].notna()]
    assert len(told)
    explanation = explain(settings, told["customer_id"].iloc[0])
    assert explanation["churn_probability"] == pytest.approx(told["churn_probability"].iloc[0], abs=1e-6)
    assert "; ".join(explanation["reasons"]) == told["reasons"].iloc[0]
