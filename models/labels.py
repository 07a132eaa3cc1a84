"""The labels that a fit learns from and is validated by."""

import numpy as np

from features.arrays import Floats
from features.dataset import Labels

VALUES = ("purchases", "spend")
HEADS = ("churn", *VALUES)


def base_rates(churn: Floats) -> Floats:
    """[horizons]: the share that churned among the observed and half a churn and half a return, so never 0 or 1."""
    observed = np.isfinite(churn)
    return np.asarray((np.where(observed, churn, 0).sum(0) + 0.5) / (observed.sum(0) + 1.0))


def observed_values(labels: Labels) -> list[str]:
    """The outcomes beside churn that were observed of any example: an outcome that nowhere was is not expected. Where
    no event has an amount, nothing is known of purchases and spend.
    """
    return [name for name in VALUES if np.isfinite(getattr(labels, name)).any()]


def observed_labels(labels: Labels | None) -> Labels:
    """The labels to learn from. Raises ValueError where there are none."""
    if labels is None or not np.isfinite(labels.churn).any(axis=0).all():
        raise ValueError("no label was observed for some horizon: training needs examples whose horizons have closed")
    return labels


def held_out_labels(labels: Labels | None) -> Labels:
    """The labels to validate by. A horizon longer than the time to the next part has none, and the others decide.
    Raises ValueError where there are none at all.
    """
    if labels is None or not np.isfinite(labels.churn).any():
        raise ValueError("no label was observed: validation needs examples whose horizons have closed")
    return labels
