"""Error, order and bias of expected values, against plain formulas."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score, root_mean_squared_error

from models.evaluation.intervals import customer_weights
from models.evaluation.values import VALUE_METRICS, score_values


def sample(examples=600, seed=4):
    random = np.random.default_rng(seed)
    expected = random.gamma(2.0, size=examples)
    return random.poisson(expected).astype(float), expected, customer_weights(np.arange(examples).astype(str), 200)


def test_points_are_those_of_the_formulas():
    came, expected, weights = sample()
    found = score_values(came, expected, weights)
    assert list(found) == list(VALUE_METRICS)
    assert found["mae"].value == pytest.approx(mean_absolute_error(came, expected))
    assert found["rmse"].value == pytest.approx(root_mean_squared_error(came, expected))
    assert found["bias"].value == pytest.approx(expected.sum() / came.sum() - 1)
    for interval in found.values():
        assert interval.low < interval.value < interval.high


def test_normalised_gini_of_yes_and_no_is_twice_the_auc_minus_one():
    random = np.random.default_rng(5)
    came, expected = random.integers(0, 2, 300).astype(float), np.round(random.random(300), 1)
    found = score_values(came, expected, customer_weights(np.arange(300).astype(str), 50))
    assert found["normalised_gini"].value == pytest.approx(2 * roc_auc_score(came, expected) - 1)


def test_the_perfect_order_has_a_gini_of_one_and_a_constant_of_none():
    came, _, weights = sample()
    assert score_values(came, came * 3 + 1, weights)["normalised_gini"].value == pytest.approx(1)
    assert score_values(came, np.ones_like(came), weights)["normalised_gini"].value == pytest.approx(0)


def test_refunds_count_as_nothing_and_nothing_bought_is_undefined():
    weights = customer_weights(["a", "b"])
    found = score_values([-5.0, 0.0], [0.0, 0.0], weights)
    assert found["mae"].value == 0
    assert found["bias"].value is None
    assert found["normalised_gini"].value is None


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="cannot be scored"):
        score_values([np.nan], [1.0], customer_weights(["a"]))
