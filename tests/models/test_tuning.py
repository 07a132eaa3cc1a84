"""Tuning: the defaults first, no more trials than were allowed, the best taken where it is so beyond doubt."""

import warnings

import pytest

from models import MODELS, POOLED, model_class
from models.tuning import Search, tune
from tests.support.worlds.model_worlds import HORIZON, halves, steady_world


def test_the_defaults_stay_where_the_best_may_be_so_by_luck_and_each_trial_is_told():
    kind, told = model_class("random_forest"), []
    fixed = {"trees": 8}
    chosen = tune(
        lambda tried: kind((HORIZON,), 5, **fixed | dict(tried)),
        Search({"share_of_rows": (0.45, 0.55)}, kind.defaults, 4, HORIZON, 5),
        *halves(steady_world()),
        told.append,
    )
    assert [trial.number for trial in told] == [0, 1, 2, 3]
    assert told[0].parameters == {"share_of_rows": kind.defaults["share_of_rows"]}
    assert min(trial.log_loss for trial in told) < told[0].log_loss
    assert chosen == told[0].parameters


def test_defaults_that_are_worse_beyond_doubt_give_way_to_the_best():
    kind, told = model_class("feed_forward"), []
    chosen = tune(
        lambda tried: kind((HORIZON,), 5, max_epochs=8, patience=8, head_units=8, **tried),
        Search({"learning_rate": [0.01, 1e-7]}, {"learning_rate": 1e-7}, 8, HORIZON, 5),
        *halves(steady_world(400)),
        told.append,
    )
    assert told[0].parameters == {"learning_rate": 1e-7}
    assert chosen == min(told, key=lambda trial: trial.log_loss or 9.0).parameters == {"learning_rate": 0.01}


def test_a_trial_that_falls_behind_is_given_up():
    kind, told = model_class("feed_forward"), []
    tune(
        lambda tried: kind((HORIZON,), 5, max_epochs=8, patience=8, head_units=8, **tried),
        Search({"learning_rate": [0.01, 1e-7]}, {"learning_rate": 0.01}, 8, HORIZON, 5),
        *halves(steady_world()),
        told.append,
    )
    assert len(told) == 8
    assert any(trial.log_loss is None for trial in told)
    assert all(trial.log_loss is not None for trial in told if trial.parameters["learning_rate"] == 0.01)


def test_every_epoch_of_every_network_is_reported_once():
    """A report of an epoch already told would be ignored, and Optuna says so."""
    kind = model_class("feed_forward")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune(
            lambda tried: kind((HORIZON,), 5, max_epochs=2, seeds=2, head_units=8, **tried),
            Search({"learning_rate": [0.01]}, {"learning_rate": 0.01}, 2, HORIZON, 5),
            *halves(steady_world()),
            lambda trial: None,
        )


@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_tuned_are_parameters_that_fitting_does_not_find(name):
    kind = model_class(name)
    assert set(kind.space) <= set(kind.defaults) - set(kind.found_by_fit)
    recipe = {k: v for k, v in kind.defaults.items() if k not in kind.found_by_fit}
    if "specs" in recipe:  # a pool writes out its members'
        recipe["specs"] = {member: model_class(member).recipe_of({}) for member in POOLED}
    assert kind.recipe_of(dict.fromkeys(kind.found_by_fit, 3)) == recipe


def test_no_model_without_memory_has_fewer_trials_than_one_with_it():
    for trials in (2, 10, 80):
        of = {name: (model_class(name).family, model_class(name).trials_of(trials)) for name in MODELS}
        recurrent = max(number for family, number in of.values() if family in ("recurrent", "hybrid"))
        assert recurrent <= max(number for family, number in of.values() if family == "conventional")
        assert of["lightgbm"][1] >= 50
        assert of["recency"][1] == 0  # has nothing to tune
    assert {model_class(name).trials_of(1) for name in MODELS} == {0}
