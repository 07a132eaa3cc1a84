"""Bags of boosters: their mean, their random states, and artefacts of before there were any."""

import json

import numpy as np
import pytest

from models.conventional.lightgbm import BoosterKey, LightGBM
from models.numerics import logit
from tests.support.worlds.model_worlds import HORIZON, halves, steady_world

SMALL = {"max_rounds": 40, "min_examples_a_leaf": 10}
TRAIN, VALID = halves(steady_world())


def fitted(bags: int, random_state: int = 5, **parameters: object) -> LightGBM:
    model = LightGBM((HORIZON,), random_state, bags=bags, **SMALL | parameters)
    model.fit(TRAIN, VALID)
    return model


def test_the_logit_of_several_bags_is_the_mean_of_theirs():
    model = fitted(3)
    logits = [
        model.boosters[BoosterKey("churn", HORIZON, bag)].predict(VALID.aggregates, raw_score=True) for bag in range(3)
    ]
    assert logit(model.predict(VALID).churn_probability[:, 0]) == pytest.approx(np.mean(logits, axis=0))
    assert np.std(logits, axis=0).min() > 0


def test_the_first_bag_is_the_booster_that_one_bag_has():
    one, three = fitted(1), fitted(3)
    key = BoosterKey("churn", HORIZON)
    assert one.boosters[key].model_to_string() == three.boosters[key].model_to_string()
    assert len(one.boosters) == 3
    assert len(three.boosters) == 5  # purchases and spend have one


def test_a_fit_without_validation_takes_over_the_rounds_of_each_bag():
    first = fitted(3, max_rounds=600)
    again = LightGBM((HORIZON,), 5, **first.parameters)
    again.fit(TRAIN, None)
    assert again.parameters["rounds"] == first.parameters["rounds"]
    assert len(set(first.parameters["rounds"].values())) > 1
    more = LightGBM((HORIZON,), 5, **first.parameters | {"bags": 4})
    more.fit(TRAIN, None)
    assert more.parameters["rounds"][f"churn_{HORIZON}_bag_3"] == first.parameters["rounds"][f"churn_{HORIZON}"]


def test_an_artefact_of_one_booster_still_loads(tmp_path):
    """As it was written until November 2026, without a word of bags, extra trees or bins."""
    model = fitted(1)
    model.save(tmp_path)
    file = tmp_path / "model.json"
    content = json.loads(file.read_text("utf-8"))
    for name in ("bags", "extra_trees", "max_bins"):
        del content["parameters"][name]
    file.write_text(json.dumps(content), "utf-8")
    loaded = LightGBM.load(tmp_path)
    assert loaded.parameters["bags"] == 1
    assert np.array_equal(loaded.predict(VALID).churn_probability, model.predict(VALID).churn_probability)


def test_extra_trees_are_other_trees():
    assert not np.array_equal(
        fitted(1, extra_trees=True).predict(VALID).churn_probability, fitted(1).predict(VALID).churn_probability
    )
