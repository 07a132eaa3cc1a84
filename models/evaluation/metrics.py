"""Six metrics of churn probabilities on labelled examples: what they mean, and how probabilities are read."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METRICS: dict[str, str] = {
    "roc_auc": "the chance that a churner is ranked above a customer who stays, ties counted as half",
    "average_precision": "precision averaged over the churners, from the highest probability down",
    "log_loss": "mean of -log of the probability given to what happened, clipped to [1e-7, 1 - 1e-7]",
    "brier": "mean squared difference between the probability and what happened",
    "calibration_error": "mean absolute difference between predicted and observed churn over ten bins of equal size",
    "lift_at_10_percent": "churn among the tenth most at risk, divided by churn among all",
}
HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision", "lift_at_10_percent"})

CLIP = 1e-7
BINS = 10
LIFT_SHARE = 0.1


def clip_probabilities(probabilities: ArrayLike) -> Floats:
    """Probabilities in [1e-7, 1 - 1e-7], as every metric here reads them: one certain mistake costs a log loss of 16.1
    and not infinity. Published test predictions are clipped too, so that the metrics can be recomputed from them.
    """
    return np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 of one shape `[examples]`, the probabilities clipped.

    Raises ValueError for a label that is neither 0 nor 1 (an unobserved horizon's NaN above all) and for a probability
    outside [0, 1]: neither may reach a metric.
    """
    truth = np.asarray(labels, dtype=np.float64)
    raw = np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != raw.shape:
        raise ValueError(f"labels {truth.shape} and probabilities {raw.shape} must be of one shape, [examples]")
    if wrong := int(np.sum((truth != 0) & (truth != 1))):
        raise ValueError(f"{wrong} of {len(truth)} labels are neither 0 nor 1: leave out unobserved horizons first")
    if wrong := int(np.sum(~((raw >= 0) & (raw <= 1)))):
        raise ValueError(f"{wrong} of {len(raw)} probabilities are not within [0, 1]")
    return truth, clip_probabilities(raw)


def example_log_loss(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """The log loss of each example, `[examples]`, in nats. Raises what `checked` raises."""
    truth, probability = checked(labels, probabilities)
    return -np.log(np.where(truth == 1, probability, 1 - probability))


def example_squared_error(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """The squared difference of each example, `[examples]`. Raises what `checked` raises."""
    truth, probability = checked(labels, probabilities)
    return (truth - probability) ** 2


def calibration_bins(probabilities: Floats) -> NDArray[np.int64]:
    """The bin of each example, `[examples]`, 0 to 9: deciles of the probabilities, drawn as scikit-learn's
    `calibration_curve(strategy="quantile")` draws them. Equal probabilities share a bin: a constant prediction has one.
    """
    edges = np.percentile(probabilities, np.linspace(0, 100, BINS + 1))
    return np.searchsorted(edges[1:-1], probabilities)
