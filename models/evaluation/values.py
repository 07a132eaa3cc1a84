"""Metrics of expected purchases and spend on the test: error, order and bias, with intervals."""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import FEW, UNDEFINED, CustomerWeights, Interval, intervals_of
from models.evaluation.metrics import Floats, Ties

VALUE_METRICS: dict[str, str] = {
    "mae": "mean absolute difference between what was expected and what came",
    "rmse": "root of the mean squared difference",
    "normalised_gini": "how well customers are ordered by value: 1 as they came, 0 at random (Gini's coefficient by "
    "the expectation, divided by that by what came)",
    "bias": "the total expected, divided by the total that came, minus 1",
}


def score_values(actual: ArrayLike, expected: ArrayLike, weights: CustomerWeights) -> dict[str, Interval]:
    """Each of `VALUE_METRICS` for `expected [rows]` against `actual [rows]`, both of one outcome within the primary
    horizon, refunds counted as 0: the mean over the seeds, with 95 % intervals from resampling customers.

    Raises ValueError for values that are not finite or do not match the weights.
    """
    truth, guess = weights.by_seed(np.maximum(np.asarray(actual, np.float64), 0)), weights.by_seed(expected)
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("values that are NaN or infinite cannot be scored: leave unobserved horizons out first")
    if not len(weights):
        return dict.fromkeys(VALUE_METRICS, UNDEFINED)
    sums = [_sums(*seed, weights) for seed in zip(truth, guess, strict=True)]
    by_guess = [Ties(guess[seed], truth[seed], weights.unit) for seed in range(weights.seeds)]
    by_truth = Ties(truth[0], truth[0], weights.unit)

    def values(seed: int, counts: Floats) -> Floats:
        total = counts @ sums[seed]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = total[:, 1:3] / total[:, :1]
            gini = _concentration(*by_guess[seed](counts)) / _concentration(*by_truth(counts))
            return np.column_stack([means[:, 0], np.sqrt(means[:, 1]), gini, total[:, 3] / total[:, 4] - 1])

    return dict(zip(VALUE_METRICS, intervals_of(values, weights.fewer(FEW)), strict=True))


def _sums(truth: Floats, guess: Floats, weights: CustomerWeights) -> Floats:
    """`[customers, 5]`: examples, absolute and squared errors, expected and actual values."""
    error = guess - truth
    return weights.by_customer(np.array([np.ones_like(truth), np.abs(error), error**2, guess, truth]))


def _concentration(weight: Floats, value: Floats) -> Floats:
    """Gini's coefficient [weightings] of values in order, from the least up: twice the area between the line of equal
    shares and the share of the total that the lowest have. Ties [weightings, ties] share theirs equally.
    """
    total = np.cumsum(value, axis=1)
    area = (weight * (2 * total - value)).sum(axis=1) / (weight.sum(axis=1) * total[:, -1])
    return np.asarray(1 - area)
