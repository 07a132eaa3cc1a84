"""Logits, losses and order among horizons: what every model computes alike."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


def beyond_doubt(gain: Floats, customer: NDArray[Any]) -> bool:
    """Whether a simpler model should give way to one that gains this much on each label: the one-standard-error rule of
    Breiman et al. (1984), here with two. `customer` says whose each label is, and customers are the units: the rows of
    one repeat one another, as neighbouring cutoffs and horizons do.
    """
    return bool(len(gain) and gain.mean() > STANDARD_ERRORS * standard_error(gain, customer))


def standard_error(values: Floats, customer: NDArray[Any]) -> float:
    """Of the mean of `values`, whose customers are independent of one another and whose rows of one `customer` are not:
    the root of the sum over customers of their squared total deviation, divided by the number of values (Liang and
    Zeger 1986), times `sqrt(g / (g - 1))` for g customers. Infinite where there is but one.
    """
    codes, customers = pd.factorize(customer)
    if len(customers) < 2:
        return math.inf
    totals = np.bincount(codes, values - values.mean())
    return float(np.sqrt(totals @ totals * len(customers) / (len(customers) - 1)) / len(values))


def whose_labels(churn: Floats, customer: NDArray[Any]) -> NDArray[Any]:
    """Of each label that was observed, in the order of `log_losses`, whose it is; `customer` is [examples]."""
    return np.asarray(customer[np.nonzero(np.isfinite(churn))[0]])


def ordered_by_horizon(probability: Floats, horizons: Sequence[int]) -> Floats:
    """`probability` [examples, horizons], made consistent: who churns for longer has churned for shorter, so that a
    longer horizon never has the higher probability. The shortest horizon's is kept.
    """
    order = np.argsort(horizons, kind="stable")
    consistent = np.empty_like(probability)
    consistent[:, order] = np.minimum.accumulate(probability[:, order], axis=1)
    return consistent
