"""Scores: their limits cover what they promise, several seeds count as the mean, and what cannot be told is none."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.intervals import Interval, customer_weights, mean
from models.evaluation.metrics import METRICS
from models.evaluation.scoring import score


def names(codes):
    return np.array([f"customer-{code:05d}" for code in codes], dtype=object)


def test_auc_interval_covers():
    def draw(seed, customers):
        generator = np.random.default_rng(seed)
        labels = (generator.random(customers) < 0.3).astype(float)
        return labels, 1 / (1 + np.exp(-generator.normal(labels, 1.0)))

    truth = 0.7602499389065233  # Phi(1 / sqrt 2)
    inside = 0
    for seed in range(100):
        interval = score(*draw(seed, 300), customer_weights(names(range(300)), 200, seed))["roc_auc"]
        inside += interval.low <= truth <= interval.high
    assert 0.88 <= inside / 100 <= 0.99


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (1.6, None)])
def test_calibration_interval_covers_where_plain_percentiles_would_not(slope, expected):
    def draw(seed, customers):
        generator = np.random.default_rng(seed)
        logit = generator.normal(-1.5, 1.0, customers)
        labels = (generator.random(customers) < 1 / (1 + np.exp(-logit))).astype(float)
        return labels, 1 / (1 + np.exp(-slope * logit))

    truth = expected
    if truth is None:
        logit = np.random.default_rng(1).normal(-1.5, 1.0, 400_000)
        truth = np.abs(1 / (1 + np.exp(-logit)) - 1 / (1 + np.exp(-slope * logit))).mean()
    inside = 0
    for seed in range(80):
        interval = score(*draw(seed, 500), customer_weights(names(range(500)), 150, seed))["calibration_error"]
        assert 0 <= interval.low <= interval.value <= interval.high
        inside += interval.low <= truth <= interval.high
    assert inside / 80 >= 0.9


def test_the_metrics_of_several_seeds_are_means_over_the_seeds():
    generator = np.random.default_rng(3)
    labels = (generator.random(200) < 0.3).astype(float)
    guesses = [np.clip(0.3 * labels + generator.random(200) / 2, 0, 1) for _ in range(3)]
    weights = customer_weights(names(range(200)), 200, 4, seeds=3)
    scored = score(np.tile(labels, 3), np.concatenate(guesses), weights)
    alone = [score(labels, guess, customer_weights(names(range(200)), 200, 4)) for guess in guesses]
    for name in METRICS:
        assert scored[name].value == pytest.approx(np.mean([each[name].value for each in alone])), name
    assert scored["roc_auc"].value == pytest.approx(np.mean([roc_auc_score(labels, guess) for guess in guesses]))
    precision = np.mean([average_precision_score(labels, guess) for guess in guesses])
    assert scored["average_precision"].value == pytest.approx(precision)


def test_what_cannot_be_told_is_none():
    nothing = Interval(None, None, None)
    empty = customer_weights(names([]), 100, random_state=6)
    assert score([], [], empty) == dict.fromkeys(METRICS, nothing)
    assert mean([], empty) == nothing
    alone = score([0, 1, 1], [0.2, 0.3, 0.9], customer_weights(names([1, 1, 1]), 100, random_state=6))
    assert alone["roc_auc"] == Interval(1.0, None, None)
    assert score([0, 0], [0.2, 0.3], customer_weights(names([1, 2]), 100, random_state=6))["roc_auc"] == nothing
    # A lone churner is left out by a third of the replicates: their ranking has no value, and so no limits.
    lone = score([1, *[0] * 9], np.linspace(0.9, 0.1, 10), customer_weights(names(range(10)), 200, 6))
    assert lone["roc_auc"] == Interval(1.0, None, None)
    assert lone["brier"].low is not None


def test_a_constant_prediction_has_intervals():
    labels = (np.random.default_rng(3).random(300) < 0.2).astype(float)
    scored = score(labels, np.full(300, 0.2), customer_weights(names(range(300)), 100, random_state=7))
    assert scored["roc_auc"] == Interval(0.5, 0.5, 0.5)
    assert scored["log_loss"].low < scored["log_loss"].value < scored["log_loss"].high


def test_labels_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"labels \(2,\) do not match weights for 3 examples"):
        score([0, 1], [0.1, 0.2], customer_weights(names([1, 2, 3]), 10, random_state=8))
