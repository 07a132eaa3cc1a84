"""Logits, losses and order among horizons: what every model computes alike."""

from collections.abc import Sequence

import numpy as np

from features.arrays import Floats
from models.labels import base_rates

FLOOR = 1e-7  # probabilities are clipped to [FLOOR, 1 - FLOOR] before a logarithm is taken
NEWTON_STEPS = 50
STANDARD_ERRORS = 2.0  # by which a gain must exceed zero to be beyond doubt


def sigmoid(logits: Floats) -> Floats:
    """`1 / (1 + exp(-x))`, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))))


def logit(probability: Floats) -> Floats:
    """`log(p / (1 - p))`, with p kept off 0 and 1 by the least that a double can tell."""
    clipped = np.clip(probability, 1e-300, 1 - 1e-16)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def log_loss(churn: Floats, probability: Floats) -> float:
    """The mean cross-entropy over the labels that were observed, of all horizons."""
    return float(log_losses(churn, probability).mean())


def log_losses(churn: Floats, probability: Floats) -> Floats:
    """The cross-entropy of each label that was observed, in nats."""
    observed = np.isfinite(churn)
    clipped = np.clip(probability[observed], FLOOR, 1 - FLOOR)
    label = churn[observed]
    return np.asarray(-(label * np.log(clipped) + (1 - label) * np.log(1 - clipped)))


def intercept_adjusted_loss(churn: Floats, logits: Floats) -> float:
    """The log loss of `intercept_adjusted` logits: what a training is stopped by."""
    return log_loss(churn, sigmoid(intercept_adjusted(churn, logits)))


def intercept_adjusted(churn: Floats, logits: Floats) -> Floats:
    """`logits` [examples, horizons], those of each horizon shifted together so that their mean probability is the base
    rate of the observed `churn`.

    A base rate that moved between training and validation is for calibration to correct. If it counted against a model,
    the best epoch would be an early one that happens to be near the new base rate.
    """
    shifted = np.array(logits, np.float64)
    for column, rate in enumerate(base_rates(churn)):
        observed = np.isfinite(churn[:, column])
        shifted[:, column] += _shift_to(rate, shifted[observed, column]) if observed.any() else 0.0
    return shifted


def _shift_to(rate: float, logits: Floats) -> float:
    """By Newton's method: what to add to `logits` so that their mean probability is `rate`."""
    shift = 0.0
    for _ in range(NEWTON_STEPS):
        probability = sigmoid(logits + shift)
        slope = float((probability * (1 - probability)).mean())
        step = (rate - float(probability.mean())) / max(slope, FLOOR)
        shift += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9:
            break
    return shift


def beyond_doubt(gain: Floats) -> bool:
    """Whether a simpler model should give way to one that gains this much on each label: the one-standard-error rule of
    Breiman et al. (1984), here with two, since a customer's rows repeat one another.
    """
    return bool(gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))


def ordered_by_horizon(probability: Floats, horizons: Sequence[int]) -> Floats:
    """`probability` [examples, horizons], made consistent: who churns for longer has churned for shorter, so that a
    longer horizon never has the higher probability. The shortest horizon's is kept.
    """
    order = np.argsort(horizons, kind="stable")
    consistent = np.empty_like(probability)
    consistent[:, order] = np.minimum.accumulate(probability[:, order], axis=1)
    return consistent
