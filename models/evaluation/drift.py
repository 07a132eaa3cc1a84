"""Before a horizon has passed: how far tonight's inputs and scores lie from those of training, and the performance that
the probabilities themselves imply.
"""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.metrics import LIFT_SHARE, Floats, clip_probabilities

BINS = 10
LEAST_SHARE = 1e-3  # of a bin, so that an empty one counts much but not without limit


def stability_index(reference: ArrayLike, current: ArrayLike) -> float:
    """The population stability index: the sum over bins of `(q - p) log(q / p)`, with p and q the shares of `reference`
    and of `current` in the deciles of `reference`, and null a bin of its own. Customary reading: below .1 no change to
    speak of, above .25 a large one. NaN where either is empty.
    """
    then, now = (np.asarray(values, dtype=np.float64) for values in (reference, current))
    if not len(then) or not len(now):
        return float("nan")
    finite = then[np.isfinite(then)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1])) if len(finite) else np.zeros(0)
    p, q = (_shares(values, edges) for values in (then, now))
    return float(np.sum((q - p) * np.log(q / p)))


def expected_performance(probabilities: ArrayLike) -> dict[str, float]:
    """What `mean_predicted`, `roc_auc`, `log_loss`, `brier` and `lift_at_10_percent` would be on average, were these
    probabilities right: each customer churns with their own, so the log loss is the mean entropy, the Brier score the
    mean of `p (1 - p)`, and the AUC the share of pairs in their order among those of a churner and another, weighed by
    how likely they are to be such (Garg and others, 2022, and NannyML's CBPE estimate so). An undefined metric is NaN.
    """
    p = clip_probabilities(probabilities)
    if not len(p):
        return dict.fromkeys(("mean_predicted", "roc_auc", "log_loss", "brier", "lift_at_10_percent"), float("nan"))
    up = np.sort(p)
    _, first, size = np.unique(up, return_index=True, return_counts=True)
    stays = np.concatenate([[0.0], np.cumsum(1 - up)])
    below, level = stays[first], stays[first + size] - stays[first]  # how many stay below and at each probability
    ordered = np.sum(up[first] * size * (below + level / 2))
    # A customer is not paired with themselves, as who churned cannot also have stayed.
    with_themselves = np.sum(up * (1 - up))
    pairs = up.sum() * stays[-1] - with_themselves
    top = max(round(LIFT_SHARE * len(up)), 1)
    return {
        "mean_predicted": float(p.mean()),
        "roc_auc": float((ordered - with_themselves / 2) / pairs) if pairs > 0 else float("nan"),
        "log_loss": float(-np.mean(p * np.log(p) + (1 - p) * np.log1p(-p))),
        "brier": float(np.mean(p * (1 - p))),
        "lift_at_10_percent": float(up[-top:].mean() / p.mean()),
    }


def _shares(values: Floats, edges: Floats) -> Floats:
    """[bins + 1]: the share in each bin, `(edge, next edge]`, the nulls last."""
    finite = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(edges, finite, side="left"), minlength=len(edges) + 1)
    shares = np.append(counts, len(values) - len(finite)) / len(values)
    return np.maximum(shares, LEAST_SHARE)
