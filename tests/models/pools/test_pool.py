"""What a pool makes of its members, which it neither fits nor changes where they are fitted already."""

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import Dataset
from models import POOLED, model_class
from models.base import Model
from models.calibration import Calibration
from models.numerics import logit, sigmoid
from models.pools.conventional_pool import ConventionalPool
from models.pools.pooling import LIMIT
from models.pools.recurrent_pool import RecurrentPool
from models.pools.twin_pool import TwinPool
from models.spec import ModelSpec
from tests.support.worlds.model_worlds import HORIZON, halves, steady_world

HORIZONS = (28, HORIZON)
SMALL = {
    "logistic_regression": {},
    "random_forest": {"trees": 20, "min_examples_a_leaf": 10},
    "lightgbm": {"max_rounds": 40},
    "hybrid_gru": {"max_epochs": 2, "units": 6, "head_units": 12, "seeds": 1},
}


def taught(model: Model, data: Dataset) -> Calibration:
    return Calibration.fit("platt", data.labels.churn, model.predict(data).churn_probability, {})


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Dataset]:
    return halves(steady_world(horizons=HORIZONS))


@pytest.fixture(scope="module")
def members(world) -> dict[str, Model]:
    """Fitted and calibrated."""
    made = {name: model_class(name)(HORIZONS, 5, **own) for name, own in SMALL.items()}
    for name, member in made.items():
        member.fit(*world)
        if name == "hybrid_gru":
            member.set_share(0.5)  # so small a world tells it nothing beside the line
        member.calibration = taught(member, world[1])
    return made


@pytest.fixture(scope="module")
def pool(members) -> RecurrentPool:
    return RecurrentPool.of(HORIZONS, 5, members, member="hybrid_gru")


def test_it_is_the_mean_of_what_its_members_say_before_their_calibration(pool, members, world):
    data = world[1]
    raw = [members[name]._predict(data) for name in members]
    logits = np.mean([np.clip(logit(each.churn_probability), -LIMIT, LIMIT) for each in raw], axis=0)
    pooled = pool.predict(data)
    np.testing.assert_allclose(pooled.churn_probability, sigmoid(logits), atol=1e-12)
    for value in ("expected_purchases", "expected_spend"):
        np.testing.assert_allclose(getattr(pooled, value), np.mean([getattr(each, value) for each in raw], axis=0))


def test_its_members_stay_as_they_were(members, world):
    before = {name: member.predict(world[1]).churn_probability for name, member in members.items()}
    pool = RecurrentPool.of(HORIZONS, 5, members, member="hybrid_gru")
    pool.calibration = taught(pool, world[1])
    for name, member in members.items():
        assert member.calibration is not None
        assert np.array_equal(member.predict(world[1]).churn_probability, before[name])


def test_a_forest_without_doubt_has_no_more_than_its_share(members, world):
    class Certain(type(members["random_forest"])):  # type: ignore[misc]
        def _predict(self, data):
            predictions = super()._predict(data)
            predictions.churn_probability[:] = 0.0
            return predictions

    forest = Certain(HORIZONS, 5)
    forest.__dict__.update(members["random_forest"].__dict__)
    others = {name: member for name, member in members.items() if name in ("lightgbm", "logistic_regression")}
    pooled = ConventionalPool.of(HORIZONS, 5, {**others, "random_forest": forest}).predict(world[1])
    alone = [np.clip(logit(each._predict(world[1]).churn_probability), -LIMIT, LIMIT) for each in others.values()]
    np.testing.assert_allclose(logit(pooled.churn_probability), (alone[0] + alone[1] - LIMIT) / 3, atol=1e-9)


def test_the_order_of_its_members_is_that_of_their_names(members, world):
    backwards = RecurrentPool.of(HORIZONS, 5, dict(reversed(members.items())), member="hybrid_gru")
    forwards = RecurrentPool.of(HORIZONS, 5, members, member="hybrid_gru")
    assert list(backwards.members) == list(forwards.members) == sorted(members)
    assert np.array_equal(backwards.predict(world[1]).churn_probability, forwards.predict(world[1]).churn_probability)


def test_a_fit_is_that_of_its_members(world):
    pool = ConventionalPool(HORIZONS, 5, specs={name: SMALL[name] for name in POOLED})
    states = {member.random_state for member in pool.members.values()}
    assert len(states) == len(POOLED)  # each its own
    pool.fit(*world)
    alone = model_class("lightgbm")(HORIZONS, pool.members["lightgbm"].random_state, **SMALL["lightgbm"])
    alone.fit(*world)
    assert pool.parameters["specs"]["lightgbm"] == alone.parameters
    assert pool.curves["lightgbm_valid_loss_churn_14"] == alone.curves["valid_loss_churn_14"]
    raw = pool.members["lightgbm"].predict(world[1]).churn_probability
    assert np.array_equal(raw, alone.predict(world[1]).churn_probability)


def test_what_its_members_fits_found_makes_no_other_recipe(pool):
    found = ModelSpec("recurrent_pool", pool.parameters)
    plain = ModelSpec("recurrent_pool", {"member": "hybrid_gru", "specs": SMALL})
    assert pool.parameters["specs"]["hybrid_gru"]["epochs"] is not None
    assert found.identity == plain.identity
    other = {**SMALL, "lightgbm": {"max_rounds": 41}}
    assert ModelSpec("recurrent_pool", {"member": "hybrid_gru", "specs": other}).identity != plain.identity
    assert "rounds" not in found.recipe.parameters["specs"]["lightgbm"]


def test_a_fit_without_validation_trains_its_members_as_long_as_was_found(pool, world):
    again = RecurrentPool(HORIZONS, 5, **pool.parameters)
    again.fit(world[0], None)
    for name, found in (("lightgbm", "rounds"), ("hybrid_gru", "epochs")):
        assert again.parameters["specs"][name][found] == pool.parameters["specs"][name][found]


def test_without_a_member_it_is_the_conventional_pool(members, world):
    others = {name: members[name] for name in POOLED}
    without = RecurrentPool.of(HORIZONS, 5, others)
    conventional = ConventionalPool.of(HORIZONS, 5, others)
    assert np.array_equal(without.predict(world[1]).churn_probability, conventional.predict(world[1]).churn_probability)
    assert (without.needs, without.family, without.views) == ("aggregates", "conventional", ("aggregates",))
    assert without.stepper() is None
    assert without.without_state() is None
    assert without.predict_reading(world[1], world[1].sequences) is None


def test_with_a_member_it_needs_what_that_needs(pool):
    assert (pool.needs, pool.family, pool.views) == ("state", "hybrid", ("aggregates", "sequences"))


def test_without_its_state_it_is_the_conventional_pool_of_the_same_recipes(pool):
    without = pool.without_state()
    assert isinstance(without, ConventionalPool)
    assert sorted(without.members) == sorted(POOLED)
    assert without.parameters["specs"]["random_forest"]["trees"] == SMALL["random_forest"]["trees"]
    assert without.members["lightgbm"].random_state == RecurrentPool(HORIZONS, 5).members["lightgbm"].random_state


def test_it_reads_other_histories_through_its_member_alone(pool, members, world):
    data = world[1]
    assert np.array_equal(
        pool.predict_reading(data, data.sequences).churn_probability, pool.predict(data).churn_probability
    )
    sequences = data.sequences
    altered = sequences.numeric | {"amount": sequences.numeric["amount"] * 50}
    read = pool.predict_reading(data, replace(sequences, numeric=altered)).churn_probability
    assert not np.array_equal(read, pool.predict(data).churn_probability)


def test_the_conventional_side_has_no_member_with_a_memory(members):
    with pytest.raises(ValueError, match="ConventionalPool has no member with a memory, and hybrid_gru has one"):
        ConventionalPool.of(HORIZONS, 5, members)


def test_the_twin_pool_has_the_members_twin(pool, members, world):
    twin = members["hybrid_gru"].twin()
    twin.fit(*world)
    twin.set_share(0.5)
    composed = TwinPool.of(HORIZONS, 5, members | {"hybrid_gru": twin}, member="hybrid_gru")
    assert (composed.needs, composed.family, composed.views) == ("aggregates", "conventional", ("aggregates",))
    assert composed.parameters["specs"]["hybrid_gru"]["memory"] is False
    assert TwinPool(HORIZONS, 5, member="gru").members["gru"].parameters["memory"] is False
    theirs, ours = (each.recipe_of(each.parameters)["specs"] for each in (composed, pool))
    assert theirs == ours | {"hybrid_gru": ours["hybrid_gru"] | {"memory": False}}
    assert not np.array_equal(composed.predict(world[1]).churn_probability, pool.predict(world[1]).churn_probability)


def test_a_member_that_is_not_there_is_refused(members):
    with pytest.raises(ValueError, match="member 'lstm' is none of logistic_regression, random_forest"):
        RecurrentPool.of(HORIZONS, 5, members, member="lstm")
