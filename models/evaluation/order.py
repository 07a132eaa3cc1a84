"""Metrics of order as means over examples, so that their intervals come from the same draws as those of any mean.

Each function gives a value for each example: its mean is the metric, and it deviates from the metric by the derivative
with respect to the example's weight (the influence function; for ROC AUC, DeLong's placements). A replicate's mean then
is the metric of the replicate but for a second-order error, 1 / examples, and nothing is sorted again.
"""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.metrics import Floats, checked

NEIGHBOURS = 0.02  # of the examples on either side of a boundary show how often those at it churn


def example_auc(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """`[examples]`, whose mean is the ROC AUC; NaN with one class only.

    An example's placement is the share of the other class that it is ranked right against, ties counted as half
    (DeLong, DeLong and Clarke-Pearson 1988). The AUC is the mean placement of the churners, and that of the stayers
    too, so an example moves it by the deviation of its placement from the AUC, divided by its class's share.
    """
    truth, probability = checked(labels, probabilities)
    churned = truth == 1
    churners, stayers = np.sort(probability[churned]), np.sort(probability[~churned])
    if not len(churners) or not len(stayers):
        return np.full(len(truth), np.nan)
    placement = np.empty(len(truth))
    placement[churned] = _share_below(stayers, probability[churned])
    placement[~churned] = 1 - _share_below(churners, probability[~churned])
    auc = placement[churned].mean()
    share = np.where(churned, len(churners), len(stayers)) / len(truth)
    return np.asarray(auc + (placement - auc) / share)


def example_average_precision(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """`[examples]`, whose mean is the average precision; NaN where nobody churned.

    With `P(i)` the share of the examples ranked at or above churner i, and `precision(i)` that of churners among them,
    example k moves `precision(i)` by `(churned(k) - precision(i)) / P(i)` for every churner at or below it.
    """
    truth, probability = checked(labels, probabilities)
    if not truth.any():
        return np.full(len(truth), np.nan)
    rank = _Ties(-probability)
    size, churners = rank.sums(np.ones_like(truth)), rank.sums(truth)
    down_to = np.cumsum(size)
    precision = np.cumsum(churners) / down_to
    at_or_below = np.cumsum((churners / down_to)[::-1])[::-1]
    precision_below = np.cumsum((churners * precision / down_to)[::-1])[::-1]
    moved = truth * precision[rank.group] + truth * at_or_below[rank.group] - precision_below[rank.group]
    base_rate, value = truth.mean(), float((churners * precision).sum() / churners.sum())
    return np.asarray(value + (moved - value * truth) / base_rate)


def example_gain(labels: ArrayLike, probabilities: ArrayLike, depth: float) -> Floats:
    """`[examples]`, whose mean is the share of the churners among the `depth` most at risk; NaN where nobody churned.

    Examples that tie at the boundary count in proportion: the mean over all orders of them. An example above the
    boundary pushes the one at it out, so it counts by how much more it churned than those at the boundary do.
    """
    truth, probability = checked(labels, probabilities)
    if not truth.any():
        return np.full(len(truth), np.nan)
    count, depth_count = len(truth), depth * len(truth)
    rank = _Ties(-probability)
    size = rank.sums(np.ones_like(truth))
    above = np.cumsum(size) - size
    included = np.clip((depth_count - above) / size, 0, 1)[rank.group]
    boundary = int(np.searchsorted(above, depth_count, side="left")) - 1
    near = np.abs(rank.position - depth_count) <= max(NEIGHBOURS * count, 1)
    at_boundary = (
        truth[near | (rank.group == boundary)].mean() if size[boundary] < 2 else (truth[rank.group == boundary].mean())
    )
    base_rate = truth.mean()
    value = float((included * truth).sum() / truth.sum())
    moved = included * (truth - at_boundary) + depth * at_boundary
    return np.asarray(value + (moved - value * truth) / base_rate)


def example_concentration(by: Floats, values: Floats) -> Floats:
    """`[examples]`, whose mean is Gini's coefficient of `values` in order of `by`: twice the area between the line of
    equal shares and the share of the total that the lowest have; NaN where the total is not above 0. Ties share theirs
    equally.
    """
    total = values.mean() if len(values) else 0.0
    if not total > 0:
        return np.full(len(values), np.nan)
    rank = _Ties(by)
    size, sums = rank.sums(np.ones_like(values)), rank.sums(values)
    value_below = (np.cumsum(sums) - sums / 2)[rank.group] / len(values)
    share_above = 1 - (np.cumsum(size) - size / 2)[rank.group] / len(values)
    area = 2 * float((values * share_above).mean())
    moved = 2 * (value_below + values * share_above)
    return np.asarray(1 - area / total - (moved - 2 * area) / total + area * (values - total) / total**2)


class _Ties:
    """Examples in order of `by`, from the least up, those with the same in one group."""

    def __init__(self, by: Floats) -> None:
        order = np.argsort(by, kind="stable")
        ordered = by[order]
        starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(by) else np.zeros(0, bool)
        self.group, self.position = np.empty(len(by), np.int64), np.empty(len(by))
        self.group[order] = np.cumsum(starts) - 1
        self.position[order] = np.arange(len(by)) + 0.5

    def sums(self, values: Floats) -> Floats:
        """`[groups]` of `values [examples]`."""
        return np.asarray(np.bincount(self.group, values), np.float64)


def _share_below(ordered: Floats, values: Floats) -> Floats:
    """Of `ordered`, the share below each of `values`, and half of what is equal to it."""
    below, to_here = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + to_here) / 2 / len(ordered)
