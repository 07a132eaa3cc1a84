"""Metrics of expected purchases and spend on the test: error, order and bias, with intervals."""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights, Interval, intervals_of
from models.evaluation.metrics import Floats, Ties

VALUE_METRICS: dict[str, str] = {
    "mae": "mean absolute difference between what was expected and what came",
    "rmse": "root of the mean squared difference",
    "normalised_gini": "how well customers are ordered by value: 1 as they came, 0 at random (Gini's coefficient by "
    "the expectation, divided by that by what came)",
    "bias": "the total expected, divided by the total that came, minus 1",
}


def score_values(actual: ArrayLike, expected: ArrayLike, weights: CustomerWeights) -> dict[str, Interval]:
    """Each of `VALUE_METRICS` for `expected [examples]` against `actual [examples]`, both of one outcome within the
    primary horizon, refunds counted as 0; with 95 % intervals from resampling customers.

    Raises ValueError for values that are not finite or do not match the weights.
    """
    truth, guess = np.maximum(np.asarray(actual, np.float64), 0), np.asarray(expected, np.float64)
    if truth.shape != (len(weights),) or guess.shape != truth.shape:
        raise ValueError(f"values {truth.shape} and {guess.shape} do not match weights for {len(weights)} examples")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("values that are NaN or infinite cannot be scored: leave unobserved horizons out first")
    if not len(truth):
        return dict.fromkeys(VALUE_METRICS, Interval(None, None, None))
    error = guess - truth
    sums = [np.ones_like(truth), np.abs(error), error**2, guess, truth]
    totals = np.column_stack([np.bincount(weights.unit, column, weights.customers) for column in sums])
    by_guess, by_truth = Ties(guess, truth, weights.unit), Ties(truth, truth, weights.unit)

    def values(counts: Floats) -> Floats:
        total = counts @ totals
        with np.errstate(divide="ignore", invalid="ignore"):
            means = total[:, 1:3] / total[:, :1]
            gini = _concentration(*by_guess(counts)) / _concentration(*by_truth(counts))
            return np.column_stack([means[:, 0], np.sqrt(means[:, 1]), gini, total[:, 3] / total[:, 4] - 1])

    return dict(zip(VALUE_METRICS, intervals_of(values, weights), strict=True))


def _concentration(weight: Floats, value: Floats) -> Floats:
    """Gini's coefficient [weightings] of values in order, from the least up: twice the area between the line of equal
    shares and the share of the total that the lowest have. Ties [weightings, ties] share theirs equally.
    """
    total = np.cumsum(value, axis=1)
    area = (weight * (2 * total - value)).sum(axis=1) / (weight.sum(axis=1) * total[:, -1])
    return np.asarray(1 - area)
