"""Metrics of order as means: the mean is the metric, DeLong's variance is that of the pairs, and limits are those of
replicates in which every metric is computed anew.
"""

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.details import details
from models.evaluation.intervals import CustomerWeights, customer_weights, mean
from models.evaluation.order import example_auc, example_average_precision, example_concentration, example_gain
from models.evaluation.scoring import score
from models.evaluation.statements.apart import adjusted_log_loss, window_auc
from models.evaluation.values import score_values
from models.numerics import intercept_adjusted_loss, logit


def sample(examples=3_000, customers=1_200, decimals=None, state=3):
    """Labels, probabilities and customers: several examples a customer, who differ."""
    generator = np.random.default_rng(state)
    unit = generator.integers(customers, size=examples)
    own = generator.normal(-1.5, 1.2, customers)[unit] + generator.normal(0, 0.8, examples)
    labels = (generator.random(examples) < 1 / (1 + np.exp(-own))).astype(float)
    guess = 1 / (1 + np.exp(-(own * 1.1 + 0.2 + generator.normal(0, 0.4, examples))))
    return labels, guess if decimals is None else np.round(guess, decimals), unit.astype(str)


def gain_of_pairs(labels, guess, depth):
    """The share of churners among the most at risk, ties in proportion, one by one."""
    left, found = depth * len(labels), 0.0
    for value in sorted(set(guess), reverse=True):
        here = guess == value
        share = min(max(left / here.sum(), 0), 1)
        found, left = found + share * labels[here].sum(), left - here.sum()
    return found / labels.sum()


def concentration_of_pairs(by, values):
    below = (by[None] < by[:, None]) + (by[None] == by[:, None]) / 2
    return 1 - 2 * (below * values[None]).sum() / len(by) / values.sum()


@pytest.mark.parametrize("decimals", [None, 1, 2])
def test_means_are_the_metrics(decimals):
    labels, guess, _ = sample(600, decimals=decimals)
    assert example_auc(labels, guess).mean() == pytest.approx(roc_auc_score(labels, guess))
    expected = average_precision_score(labels, guess)
    assert example_average_precision(labels, guess).mean() == pytest.approx(expected)
    for depth in (0.05, 0.1, 0.333):
        assert example_gain(labels, guess, depth).mean() == pytest.approx(gain_of_pairs(labels, guess, depth))
    amounts = np.random.default_rng(4).gamma(1.0, size=600)
    expected = concentration_of_pairs(guess, amounts)
    assert example_concentration(guess, amounts).mean() == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [None, 1])
def test_the_spread_of_the_auc_is_delongs_by_brute_force(decimals):
    labels, guess, _ = sample(300, decimals=decimals)
    churners, stayers = guess[labels == 1], guess[labels == 0]
    ahead = (churners[:, None] > stayers) + (churners[:, None] == stayers) / 2
    m, n = ahead.shape
    delong = ahead.mean(axis=1).var() / m + ahead.mean(axis=0).var() / n
    values = example_auc(labels, guess)
    assert values.mean() == pytest.approx(ahead.mean())
    assert values.var() / len(values) == pytest.approx(delong)


@pytest.mark.parametrize(
    "metric",
    [example_auc, example_average_precision, partial(example_gain, depth=0.1)],
    ids=["auc", "average precision", "gain"],
)
def test_values_are_derivatives_with_respect_to_an_examples_weight(metric):
    """An example that is there once more, among many, moves the metric by its value's distance over the examples."""
    labels, guess, _ = sample(400, decimals=1)
    many = [np.repeat(column, 200) for column in (labels, guess)]
    values, point = metric(labels, guess), metric(*many).mean()
    for row in range(0, 400, 37):
        moved = metric(np.r_[many[0], labels[row]], np.r_[many[1], guess[row]]).mean() - point
        assert moved * (len(many[0]) + 1) == pytest.approx(values[row] - point, abs=2e-3)


def exact_replicates(figures, weights, replicates=600):
    """`figures(rows)` by name for the rows of each replicate, drawn customers as often as they were drawn."""
    draws = []
    for counts in weights.fewer(replicates).chunks():
        draws += [figures(np.repeat(np.arange(len(weights)), row[weights.unit].astype(int))) for row in counts]
    return {name: np.quantile([draw[name] for draw in draws], [0.025, 0.975]) for name in draws[0]}


def assert_limits(interval, exact, tolerance=0.08):
    low, high = exact
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=tolerance * (high - low))


def test_limits_are_those_of_exact_replicates():
    labels, guess, customer_id = sample(decimals=1)
    amounts = np.random.default_rng(5).gamma(1.0, size=len(labels)) * (1 - labels)
    weights = customer_weights(customer_id, 10_000, 1)
    measured = {
        **score(labels, guess, weights),
        **details(labels, guess, weights, 0.1),
        **score_values(amounts, 1 - guess, weights),
    }

    def figures(rows):
        once = CustomerWeights(np.arange(len(rows)), len(rows), 0, 0, np.zeros(len(rows), np.int64))
        intervals = {
            **score(labels[rows], guess[rows], once),
            **details(labels[rows], guess[rows], once, 0.1),
            **score_values(amounts[rows], 1 - guess[rows], once),
        }
        return {name: interval.value for name, interval in intervals.items()}

    for name, exact in exact_replicates(figures, weights).items():
        # Both are raised by noise, and replicates by their own noise too: their limits are not percentiles.
        if name not in ("calibration_error", "brier_reliability"):
            assert_limits(measured[name], exact)


def test_a_difference_of_adjusted_losses_at_fixed_shifts_has_the_limits_of_exact_replicates():
    labels, guess, customer_id = sample()
    other = 1 / (1 + np.exp(-(0.9 * logit(guess) + np.random.default_rng(6).normal(0.4, 0.3, len(guess)))))
    weights = customer_weights(customer_id, 10_000, 1)

    def adjusted(rows, probability):
        return intercept_adjusted_loss(labels[rows][:, None], logit(probability[rows])[:, None])

    def figures(rows):
        return {
            "level": adjusted(rows, other) - adjusted(rows, guess),
            "ranking": roc_auc_score(labels[rows], guess[rows]) - roc_auc_score(labels[rows], other[rows]),
        }

    exact = exact_replicates(figures, weights)
    losses = [adjusted_log_loss(labels, probability, weights) for probability in (other, guess)]
    assert losses[0].mean() == pytest.approx(adjusted(np.arange(len(labels)), other))
    assert_limits(mean(losses[0] - losses[1], weights), exact["level"])
    ranking = [window_auc(labels, probability, weights) for probability in (guess, other)]
    assert_limits(mean(ranking[0] - ranking[1], weights), exact["ranking"])


def test_what_is_undefined_is_nan():
    assert np.isnan(example_auc([1, 1], [0.2, 0.3])).all()
    assert np.isnan(example_average_precision([0, 0], [0.2, 0.3])).all()
    assert np.isnan(example_gain([0, 0], [0.2, 0.3], 0.1)).all()
    assert np.isnan(example_concentration(np.array([1.0, 2.0]), np.zeros(2))).all()
    for values in (example_auc([], []), example_average_precision([], []), example_gain([], [], 0.1)):
        assert values.shape == (0,)
