"""Brier's parts, lift, gain and profit against numbers worked out by hand."""

import numpy as np
import pytest

from models.evaluation.details import DETAILS, details
from models.evaluation.intervals import customer_weights
from models.evaluation.scoring import score


def sample(examples=2_000, seed=3):
    random = np.random.default_rng(seed)
    probability = np.round(random.beta(1, 3, examples), 2)
    labels = (random.random(examples) < probability).astype(float)
    return labels, probability, customer_weights(random.integers(0, 400, examples).astype(str), 200)


def test_briers_parts_add_up_where_bins_hold_one_probability_each():
    labels, _, weights = sample()
    probability = np.repeat(np.linspace(0.05, 0.95, 10), 200)
    found = details(labels, probability, weights, 0.1)
    parts = (found[f"brier_{part}"].value for part in ("reliability", "resolution", "uncertainty"))
    reliability, resolution, uncertainty = parts
    assert uncertainty == pytest.approx(labels.mean() * (1 - labels.mean()))
    assert reliability - resolution + uncertainty == pytest.approx(((probability - labels) ** 2).mean())


def test_lift_at_ten_percent_is_that_of_the_metrics():
    labels, probability, weights = sample()
    found, metrics = details(labels, probability, weights, 0.1), score(labels, probability, weights)
    assert found["lift_at_10_percent"].value == pytest.approx(metrics["lift_at_10_percent"].value)
    assert found["lift_at_10_percent"].low == pytest.approx(metrics["lift_at_10_percent"].low)
    assert found["gain_at_20_percent"].value == pytest.approx(0.2 * found["lift_at_20_percent"].value)


def test_golden_numbers():
    labels, probability = np.array([1, 0, 1, 0, 0.0]), np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    found = details(labels, probability, customer_weights(list("abcde")), 0.25)
    assert list(found) == list(DETAILS)
    assert found["gain_at_20_percent"].value == pytest.approx(0.5)
    assert found["lift_at_20_percent"].value == pytest.approx(2.5)
    assert found["expected_profit"].value == pytest.approx((0.75 - 0.25 + 0.75) / 5)


def test_without_churners_gain_is_undefined_and_profit_a_loss():
    found = details(np.zeros(40), np.full(40, 0.5), customer_weights(np.arange(40).astype(str)), 0.25)
    assert found["gain_at_5_percent"].value is None
    assert found["expected_profit"].value == pytest.approx(-0.25)


def test_the_interval_holds_the_figure():
    labels, probability, weights = sample()
    for name, interval in details(labels, probability, weights, 0.2).items():
        assert interval.low <= interval.value + 1e-3, name
        assert interval.high >= interval.value - 1e-3, name
