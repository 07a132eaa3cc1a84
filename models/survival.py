"""The survival curve: how likely a customer is to have no event before each day up to the longest horizon.

A hazard gives the curve's course. Published probabilities are calibrated, and may be pooled with those of models that
know a horizon alone; so the hazard is stretched between one horizon and the next until the curve passes through them.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from features.arrays import Floats, Integers
from features.question import Question

MOST_DAYS = 100  # of a curve
LEAST = 1e-12  # the least survival, so that its logarithm stays finite


def curve_days(horizon: int) -> Integers:
    """The days of a curve up to `horizon`: every one, or `MOST_DAYS` evenly spaced whole ones, ascending."""
    count = min(horizon, MOST_DAYS)
    return np.arange(1, count + 1) * horizon // count


def days_to_ask(question: Question) -> Integers | None:
    """The days of the curve up to the longest horizon, and every horizon, ascending. None where churn is more than no
    event from the cutoff on, which is all that a hazard tells of.
    """
    if question.gap or question.ends_with or question.comes_back_with or question.activity:
        return None
    return np.union1d(curve_days(max(question.horizons)), question.horizons)


def piecewise_survival(rates: Floats, begins: Sequence[float], recency: Floats, days: Integers) -> Floats:
    """[customers, days]: `exp(-H(s, s + d))` of who has had no event for `recency` s days [customers], with `rates`
    [customers, intervals], each constant from one of `begins`, in days since the last event, to the next.
    """
    until = np.concatenate([recency[:, None], recency[:, None] + days], axis=1)
    hazard = np.zeros(until.shape)
    for interval, (begin, end) in enumerate(pairwise([*begins, np.inf])):
        hazard += rates[:, interval, None] * np.clip(until - begin, 0.0, end - begin)
    return np.asarray(np.exp(hazard[:, :1] - hazard[:, 1:]))


def through(published: Floats, horizons: Sequence[int], raw: Floats, days: Integers) -> Floats:
    """[customers, days]: the survival `raw` of the same shape, its cumulative hazard stretched from each horizon to the
    next so that it is `published` [customers, horizons] there. `days` ascend and hold every horizon. Where `raw` has no
    hazard between two horizons, that of the published probabilities is even.
    """
    hazard, stretched = -np.log(np.clip(raw, LEAST, 1.0)), np.empty(raw.shape)
    reached = before = np.zeros((len(raw), 1))
    begin = 0
    for column in np.argsort(horizons):
        horizon = horizons[column]
        inside = (days > begin) & (days <= horizon)
        end = hazard[:, days == horizon]
        target = np.maximum(-np.log(np.clip(published[:, [column]], LEAST, 1.0)), reached)
        even = np.broadcast_to((days[inside] - begin) / (horizon - begin), (len(raw), inside.sum()))
        share = np.divide(hazard[:, inside] - before, end - before, out=even.copy(), where=end > before)
        stretched[:, inside] = reached + share * (target - reached)
        reached, before, begin = target, end, horizon
    return np.asarray(np.exp(-stretched))
