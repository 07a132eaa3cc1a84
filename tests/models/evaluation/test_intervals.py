"""Intervals: customers are drawn, draws are paired, limits cover what they promise, and nothing depends on chunks."""

import numpy as np
import pytest

from models.evaluation import intervals
from models.evaluation.intervals import Interval, customer_weights, mean, score
from models.evaluation.metrics import METRICS, Scorer, example_log_loss


def names(codes):
    return np.array([f"customer-{code:05d}" for code in codes], dtype=object)


def matrix_of(weights):
    """All draws at once, by example: `[replicates, examples]`."""
    return np.concatenate([chunk[:, weights.unit] for chunk in weights.chunks()])


def scorer(labels, probabilities):
    return Scorer(labels, probabilities, np.arange(len(labels)))


def panel(seed, customers=150, rows=4):
    """Examples of customers who differ, several a customer: rows of one customer are alike."""
    generator = np.random.default_rng(seed)
    own = np.repeat(generator.normal(-1.5, 1.5, customers), rows)
    probabilities = 1 / (1 + np.exp(-own))
    shared = np.repeat(generator.random(customers), rows)
    labels = (np.where(generator.random(len(own)) < 0.8, shared, generator.random(len(own))) < probabilities).astype(
        float
    )
    return labels, probabilities, names(np.repeat(np.arange(customers), rows))


def test_whole_customers_are_drawn_as_many_as_there_are():
    customer_id = names([3, 1, 3, 2, 1, 3])
    matrix = matrix_of(customer_weights(customer_id, 500, random_state=1))
    assert matrix.shape == (500, 6)
    assert (matrix[:, 0] == matrix[:, 2]).all()
    assert (matrix[:, 0] == matrix[:, 5]).all()
    assert (matrix[:, 0] + matrix[:, 1] + matrix[:, 3] == 3).all()
    assert matrix.mean() == pytest.approx(1.0, abs=0.05)


def test_draws_depend_on_the_seed_and_on_nothing_else(monkeypatch):
    customer_id = names([3, 1, 3, 2, 1, 3])
    matrix = matrix_of(customer_weights(customer_id, 40, random_state=1))
    turned = matrix_of(customer_weights(customer_id[::-1], 40, random_state=1))
    assert (matrix == turned[:, ::-1]).all()
    assert (matrix != matrix_of(customer_weights(customer_id, 40, random_state=2))).any()
    monkeypatch.setattr(intervals, "CHUNK", 7)
    assert (matrix == matrix_of(customer_weights(customer_id, 40, random_state=1))).all()


def test_limits_are_percentiles_of_the_replicates(monkeypatch):
    labels, probabilities, customer_id = panel(1)
    weights = customer_weights(customer_id, 300, random_state=3)
    draws = scorer(labels, probabilities)(matrix_of(weights))
    points = scorer(labels, probabilities)(np.ones((1, len(labels))))
    monkeypatch.setattr(intervals, "CHUNK", 10_000)
    scored = score(labels, probabilities, weights)
    assert list(scored) == list(METRICS)
    for name in set(METRICS) - {"calibration_error"}:
        low, high = np.quantile(draws[name], [0.025, 0.975])
        assert scored[name].value == pytest.approx(points[name][0], abs=1e-12)
        if name != "roc_auc":
            assert (scored[name].low, scored[name].high) == pytest.approx((low, high), abs=1e-12)
    alone = mean(example_log_loss(labels, probabilities), weights)
    assert (alone.value, alone.low, alone.high) == pytest.approx(
        (scored["log_loss"].value, scored["log_loss"].low, scored["log_loss"].high), abs=1e-12
    )


def test_limits_of_a_mean_are_percentiles_of_the_replicates():
    values, customer_id = np.arange(8.0) ** 2, names([1, 1, 1, 2, 3, 3, 4, 5])
    weights = customer_weights(customer_id, 400, random_state=4)
    matrix = matrix_of(weights)
    draws = matrix @ values / matrix.sum(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    interval = mean(values, weights)
    assert interval.value == values.mean()
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)


def test_log_loss_interval_covers_where_customers_are_drawn_and_not_where_rows_are():
    truth = np.mean([score_of_population(seed) for seed in range(900, 960)])
    by_customer = by_row = 0
    for seed in range(150):
        labels, probabilities, customer_id = panel(seed)
        loss = example_log_loss(labels, probabilities)
        inside = mean(loss, customer_weights(customer_id, 200, seed))
        by_customer += inside.low <= truth <= inside.high
        rows = mean(loss, customer_weights(names(range(len(labels))), 200, seed))
        by_row += rows.low <= truth <= rows.high
    assert 0.90 <= by_customer / 150 <= 0.99
    assert by_row / 150 < 0.85


def score_of_population(seed):
    labels, probabilities, _ = panel(seed, customers=3000)
    return example_log_loss(labels, probabilities).mean()


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


def test_paired_draws_make_a_difference_narrower_than_its_parts():
    labels, probabilities, customer_id = panel(2)
    weights = customer_weights(customer_id, 300, random_state=5)
    nearly = np.clip(probabilities * 1.02, 0, 1)
    one, other = scorer(labels, probabilities), scorer(labels, nearly)
    matrix = matrix_of(weights)
    difference = one(matrix)["log_loss"] - other(matrix)["log_loss"]
    assert difference.std() < 0.1 * one(matrix)["log_loss"].std()


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
    labels, _, customer_id = panel(3)
    scored = score(labels, np.full(len(labels), 0.2), customer_weights(customer_id, 100, random_state=7))
    assert scored["roc_auc"] == Interval(0.5, 0.5, 0.5)
    assert scored["log_loss"].low < scored["log_loss"].value < scored["log_loss"].high


def test_what_does_not_match_is_refused():
    weights = customer_weights(names([1, 2, 3]), 10, random_state=8)
    with pytest.raises(ValueError, match=r"labels \(2,\) do not match weights for 3 examples"):
        score([0, 1], [0.1, 0.2], weights)
    with pytest.raises(ValueError, match="do not match weights for 3 examples"):
        mean([1.0], weights)
    with pytest.raises(ValueError, match="NaN or infinite"):
        mean([1.0, np.nan, 2.0], weights)
    with pytest.raises(ValueError, match="1 of 2 examples have no customer_id"):
        customer_weights(np.array(["a", None], dtype=object), 10, random_state=8)
