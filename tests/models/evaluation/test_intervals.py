"""Intervals: customers are drawn, draws are paired, limits cover what they promise, and nothing depends on chunks."""

import numpy as np
import pytest
from scipy import stats

from models.evaluation import intervals
from models.evaluation.intervals import customer_weights, mean, means, window_means
from models.evaluation.metrics import example_log_loss


def names(codes):
    return np.array([f"customer-{code:05d}" for code in codes], dtype=object)


def matrix_of(weights):
    """All draws at once, by example: `[replicates, examples]`."""
    return np.concatenate([chunk[:, weights.unit] for chunk in weights.chunks()])


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


def test_paired_draws_make_a_difference_narrower_than_its_parts():
    labels, probabilities, customer_id = panel(2)
    weights = customer_weights(customer_id, 300, random_state=5)
    losses = [example_log_loss(labels, guess) for guess in (probabilities, np.clip(probabilities * 1.02, 0, 1))]
    one, difference = mean(losses[0], weights), mean(losses[0] - losses[1], weights)
    assert difference.high - difference.low < 0.1 * (one.high - one.low)


def seeded(seeds=5, windows=3, customers=40, state=7):
    """Values `[seeds, examples]`, every customer in every window, and weights for their rows."""
    generator = np.random.default_rng(state)
    window = np.repeat(np.arange(windows), customers)
    customer_id = names(np.tile(np.arange(customers), windows))
    own = np.tile(generator.normal(0, 1, customers), windows)
    of_seed = generator.normal(0, 0.3, (seeds, windows))[:, window]
    values = own + of_seed + generator.normal(0, 0.5, (seeds, len(window)))
    return values, customer_weights(customer_id, 4000, 8, window, seeds)


def test_an_example_counts_once_and_not_once_a_seed():
    values, weights = seeded()
    same = np.tile(values[0], 5)
    alone = customer_weights(names(weights.unit), 4000, 8, weights.window)
    assert len(weights) == 5 * len(alone)
    once, five = mean(values[0], alone), mean(same, weights)
    assert (five.value, five.low, five.high) == pytest.approx((once.value, once.low, once.high))


def test_seeds_are_drawn_in_each_window_with_deviations_that_are_not_too_small():
    values, weights = seeded()
    by_customer = np.zeros_like(values) + values.mean(axis=0)
    fixed, drawn = mean(by_customer.ravel(), weights), mean(values.ravel(), weights)
    assert fixed.value == pytest.approx(drawn.value)
    of_window = values.reshape(5, 3, 40).mean(axis=2) / 3
    variance = of_window.var(axis=0, ddof=1).sum() / 5
    widths = [(interval.high - interval.low) / 2 / 1.96 for interval in (fixed, drawn)]
    degrees = (widths[0] ** 2 + variance) ** 2 / ((of_window.var(axis=0, ddof=1) / 5) ** 2).sum() * 4
    widened = stats.t.ppf(0.975, degrees) / 1.96
    assert widths[1] == pytest.approx(np.sqrt(widths[0] ** 2 + variance) * widened, rel=0.03)
    assert widened > 1


def test_few_seeds_widen_as_students_quantile_does():
    """Where all customers are alike, the variance is that of the seeds alone: a t interval with S - 1 degrees."""
    of_seed = np.random.default_rng(9).normal(size=30)
    weights = customer_weights(names(range(50)), 10_000, 1, seeds=30)
    interval = mean(np.repeat(of_seed, 50), weights)
    half = stats.t.ppf(0.975, 29) * of_seed.std(ddof=1) / np.sqrt(30)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.03)


def test_windows_have_means_of_their_own():
    values, weights = seeded()
    (of_windows,) = window_means(values.reshape(1, -1), weights)
    assert of_windows == pytest.approx(values.mean(axis=0).reshape(3, 40).mean(axis=1))
    assert of_windows.mean() == pytest.approx(mean(values.ravel(), weights).value)


def test_masked_examples_are_drawn_with_their_seeds():
    values, weights = seeded()
    mask = np.tile(weights.window == 1, 5)
    within = weights.within(mask)
    assert (within.customers, within.seeds, len(within)) == (40, 5, 200)
    assert mean(values.ravel()[mask], within).value == pytest.approx(values[:, 40:80].mean())


def test_fewer_replicates_are_the_first_ones():
    _, weights = seeded()
    assert (matrix_of(weights.fewer(10)) == matrix_of(weights)[:10]).all()
    assert (weights.fewer(10).seed_counts == weights.seed_counts[:10]).all()


def test_many_figures_at_once_are_those_of_each():
    values, weights = seeded()
    rows = np.stack([values.ravel(), values.ravel() ** 2])
    for both, alone in zip(means(rows, weights), [mean(row, weights) for row in rows], strict=True):
        assert (both.value, both.low, both.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_draws_that_are_not_kept_are_the_same(monkeypatch):
    values, weights = seeded()
    kept = mean(values.ravel(), weights)
    monkeypatch.setattr(intervals, "KEPT", 0)
    assert mean(values.ravel(), seeded()[1]) == kept


def test_what_does_not_match_is_refused():
    weights = customer_weights(names([1, 2, 3]), 10, random_state=8)
    with pytest.raises(ValueError, match="do not match weights for 3 examples"):
        mean([1.0], weights)
    with pytest.raises(ValueError, match="NaN or infinite"):
        mean([1.0, np.nan, 2.0], weights)
    with pytest.raises(ValueError, match="1 of 2 examples have no customer_id"):
        customer_weights(np.array(["a", None], dtype=object), 10, random_state=8)
