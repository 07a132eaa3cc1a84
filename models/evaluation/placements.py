"""ROC AUC as a mean over examples, so that its interval and its paired differences come from the draws of any mean."""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.metrics import Floats, checked

FEWEST_OF_A_CLASS = 4  # customers: with 3, one replicate in twenty would draw none of them (exp(-3)), with 4 one in 55


def example_auc(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """`[examples]`, whose mean is the ROC AUC and whose spread is its first-order spread; NaN with one class only.

    An example's placement is the share of the other class that it is ranked right against, ties counted as half
    (DeLong, DeLong and Clarke-Pearson 1988). The AUC is the mean placement of the churners, and that of the stayers
    too, so an example moves it by the deviation of its placement from the AUC, divided by its class's share of the
    examples. What this leaves out is of second order, 1 / examples.
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


def _share_below(ordered: Floats, values: Floats) -> Floats:
    """Of `ordered`, the share below each of `values`, and half of what is equal to it."""
    below, to_here = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + to_here) / 2 / len(ordered)
