"""More figures of churn probabilities: the Brier score's parts, lift and gain at several depths, and the profit of
acting on them. All follow from a model's examples in ten bins and in order of their probability.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights, Interval, figures
from models.evaluation.metrics import BINS, Floats, calibration_bins, checked
from models.evaluation.order import example_gain
from models.evaluation.scoring import drawable, each_seed, lift

DEPTHS = (0.05, 0.1, 0.2)


def _at(figure: str, depth: float) -> str:
    return f"{figure}_at_{depth:.0%}".replace("%", "_percent")


DETAILS: dict[str, str] = {
    "brier_reliability": "mean squared distance of predicted and observed churn over ten bins of equal size; lower is "
    "better (Murphy 1973)",
    "brier_resolution": "mean squared distance of the bins' observed churn from the overall; higher is better",
    "brier_uncertainty": "the Brier score of the base rate, the same for every model",
    **{_at("lift", depth): f"churn among the {depth:.0%} most at risk, divided by churn among all" for depth in DEPTHS},
    **{_at("gain", depth): f"the share of all churners among the {depth:.0%} most at risk" for depth in DEPTHS},
    "expected_profit": "a customer's mean profit when those are approached whose probability exceeds the cost of an "
    "approach (`evidence.contact_cost`, as a share of what a churner found is worth): 1 - cost for a churner, - cost "
    "for another, 0 for who is left alone",
}


def details(
    labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights, contact_cost: float
) -> dict[str, Interval]:
    """Each of `DETAILS` for `labels` and `probabilities` `[rows]`: the mean over the seeds, with its 95 % interval,
    customers resampled as for the metrics. Raises as `checked` does.
    """
    truth, guess = checked(labels, probabilities)
    by_seed = {name: each_seed(values, weights, truth, guess) for name, values in _example_values(contact_cost).items()}
    intervals = figures(by_seed, weights)
    of_depths = [name for name in DETAILS if name.startswith(("lift", "gain"))]
    return intervals | {name: drawable(intervals[name], truth, weights) for name in of_depths}


def _example_values(contact_cost: float) -> dict[str, Callable[[Floats, Floats], Floats]]:
    """Of each of `DETAILS`, the function from labels and probabilities to example values, whose mean it is."""
    return {
        "brier_reliability": _reliability,
        "brier_resolution": _resolution,
        "brier_uncertainty": lambda truth, _: truth - _squared_mean(truth),
        **{_at("lift", depth): lift(depth) for depth in DEPTHS},
        **{_at("gain", depth): partial(example_gain, depth=depth) for depth in DEPTHS},
        "expected_profit": lambda truth, guess: np.where(guess > contact_cost, truth - contact_cost, 0.0),
    }


def _reliability(truth: Floats, guess: Floats) -> Floats:
    """Over bins of n examples, whose predictions exceed what came by e in all, the sum of `e^2 / n`: what each adds."""
    bins = calibration_bins(guess)
    excess = (np.bincount(bins, guess - truth, BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1))[bins]
    return np.asarray(2 * excess * (guess - truth) - excess**2)


def _resolution(truth: Floats, guess: Floats) -> Floats:
    """The bins' summed `churners^2 / n`, less the square of the base rate: what each example adds."""
    bins = calibration_bins(guess)
    rate = (np.bincount(bins, truth, BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1))[bins]
    return np.asarray(2 * rate * truth - rate**2 - _squared_mean(truth))


def _squared_mean(truth: Floats) -> Floats:
    """Example values of the square of the mean."""
    return np.asarray(truth.mean() * (2 * truth - truth.mean()))
