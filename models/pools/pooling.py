"""The formula of a pool: the mean of its members' logits, with equal weights."""

from collections.abc import Sequence

import numpy as np

from features.arrays import Floats
from models.base import Predictions
from models.numerics import logit, ordered_by_horizon, sigmoid

LIMIT = 8.0  # no member's logit counts for more: a forest is certain where no training example says otherwise


def pooled(predictions: Sequence[Predictions], horizons: Sequence[int]) -> Predictions:
    """The logarithmic opinion pool with equal weights (Genest and Zidek, 1986) of uncalibrated predictions of the same
    examples. Purchases and spend are the means over the members that expect such; None where none does.
    """
    logits = [np.clip(logit(member.churn_probability), -LIMIT, LIMIT) for member in predictions]
    values = {
        name: [value for member in predictions if (value := getattr(member, name)) is not None]
        for name in ("expected_purchases", "expected_spend")
    }
    means = {name: _mean(expected) if expected else None for name, expected in values.items()}
    return Predictions(ordered_by_horizon(sigmoid(_mean(logits)), horizons), **means)


def _mean(of_members: Sequence[Floats]) -> Floats:
    """The mean over the members, the same to the last digit in whatever order they come."""
    return np.asarray(np.mean(np.sort(of_members, axis=0), axis=0))
