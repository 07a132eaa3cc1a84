"""Level and ranking apart, so that a better-set level is not taken for a better memory."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights
from models.evaluation.metrics import Floats, clip_probabilities, example_log_loss
from models.evaluation.order import example_auc
from models.evaluation.result import Result
from models.evaluation.scoring import enough_of_each_class
from models.evaluation.statements.differences import Difference, differences
from models.numerics import intercept_adjusted, logit, sigmoid

APART = {
    "intercept_adjusted_log_loss": "the log loss after each fit's probabilities were shifted, together on the scale of "
    "logits, so that their mean is the churn of its window: what is left when all levels are right",
    "roc_auc": "the ROC AUC within each window, averaged over windows by their examples: order alone",
}


def apart(one: Result, other: Result, labels: ArrayLike, weights: CustomerWeights) -> dict[str, Difference]:
    """How far `one` is ahead of `other` in each of `APART`; positive favours `one`. `labels [rows]`.

    A shift is found once, on all examples of a window and seed, and held in the replicates: the log loss is least where
    the means agree, so that a replicate's own shift would change it by a second-order amount only.
    """
    adjusted = [adjusted_log_loss(labels, result.test_probability, weights) for result in (other, one)]
    ranking = [window_auc(labels, result.test_probability, weights) for result in (one, other)]
    pairs, names = [(adjusted[0], adjusted[1])], ["intercept_adjusted_log_loss"]
    if all(values.size and not np.isnan(values).any() for values in ranking):
        pairs, names = [*pairs, (ranking[0], ranking[1])], [*names, "roc_auc"]
    measured = dict(zip(names, differences(pairs, weights), strict=True))
    if "roc_auc" in measured and not enough_of_each_class(labels, weights):
        measured["roc_auc"] = replace(measured["roc_auc"], low=None, high=None)
    return {name: measured.get(name, Difference()) for name in APART}


def adjusted_log_loss(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> Floats:
    """`[rows]`: each example's log loss after the shift of its window and seed."""
    truth, guess = np.asarray(labels, np.float64), clip_probabilities(probabilities)
    shifted = np.empty(len(truth))
    for rows in _fits(weights):
        logits = logit(guess[rows])[:, None]
        shifted[rows] = sigmoid(intercept_adjusted(truth[rows][:, None], logits))[:, 0]
    return example_log_loss(truth, np.clip(shifted, 0, 1))


def window_auc(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> Floats:
    """`[rows]`, whose mean is the mean over seeds and examples of the ROC AUC within the example's window (see
    `example_auc`); NaN in a window of one class.
    """
    truth, guess = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    values = np.empty(len(truth))
    for rows in _fits(weights):
        values[rows] = example_auc(truth[rows], guess[rows])
    return values


def _fits(weights: CustomerWeights) -> list[np.ndarray]:
    """The rows of each window and seed that has examples: those that one fit predicted."""
    examples = len(weights.unit)
    by_window = [np.flatnonzero(weights.window == window) for window in range(weights.windows)]
    return [rows + seed * examples for rows in by_window if len(rows) for seed in range(weights.seeds)]
