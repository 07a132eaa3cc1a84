"""Metrics of expected purchases and spend on the test: error, order and bias, with intervals."""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights, Interval, figures
from models.evaluation.metrics import Floats
from models.evaluation.order import example_concentration
from models.evaluation.scoring import each_seed

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
    truth, guess = np.maximum(np.asarray(actual, np.float64), 0), np.asarray(expected, np.float64)
    if truth.shape != (len(weights),) or guess.shape != truth.shape:
        raise ValueError(f"values {truth.shape} and {guess.shape} do not match weights for {len(weights)} examples")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("values that are NaN or infinite cannot be scored: leave unobserved horizons out first")
    with np.errstate(divide="ignore", invalid="ignore"):
        by_seed = {
            "mae": np.abs(guess - truth),
            "rmse": each_seed(_root_mean_square, weights, guess - truth),
            "normalised_gini": each_seed(_normalised_gini, weights, truth, guess),
            "bias": each_seed(_bias, weights, truth, guess),
        }
    return figures(by_seed, weights)


def _root_mean_square(error: Floats) -> Floats:
    """Example values of the root r of the mean square: `(r + error^2 / r) / 2`."""
    root = np.sqrt((error**2).mean())
    return np.asarray((root + error**2 / root) / 2 if root > 0 else np.zeros_like(error))


def _normalised_gini(truth: Floats, guess: Floats) -> Floats:
    """Example values of a ratio, from those of its two parts."""
    by_guess, by_truth = example_concentration(guess, truth), example_concentration(truth, truth)
    ratio = by_guess.mean() / by_truth.mean()
    return np.asarray(ratio + (by_guess - ratio * by_truth) / by_truth.mean())


def _bias(truth: Floats, guess: Floats) -> Floats:
    ratio = guess.mean() / truth.mean()
    return np.asarray(ratio - 1 + (guess - ratio * truth) / truth.mean())
