"""More figures of churn probabilities: the Brier score's parts, lift and gain at several depths, and the profit of
acting on them. All follow from a model's examples in ten bins and in order of their probability.
"""

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import FEW, UNDEFINED, CustomerWeights, Interval, intervals_of
from models.evaluation.metrics import BINS, Floats, Ties, calibration_bins, checked, clip_probabilities

DEPTHS = (0.05, 0.1, 0.2)
DETAILS: dict[str, str] = {
    "brier_reliability": "mean squared distance of predicted and observed churn over ten bins of equal size; lower is "
    "better (Murphy 1973)",
    "brier_resolution": "mean squared distance of the bins' observed churn from the overall; higher is better",
    "brier_uncertainty": "the Brier score of the base rate, the same for every model",
    **{
        f"lift_at_{depth:.0%}".replace("%", "_percent"): f"churn among the {depth:.0%} most at risk, divided by churn "
        "among all"
        for depth in DEPTHS
    },
    **{
        f"gain_at_{depth:.0%}".replace("%", "_percent"): f"the share of all churners among the {depth:.0%} most at risk"
        for depth in DEPTHS
    },
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
    checked(labels, probabilities)
    if not len(weights):
        return dict.fromkeys(DETAILS, UNDEFINED)
    seeds = list(zip(weights.by_seed(labels), weights.by_seed(clip_probabilities(probabilities)), strict=True))
    totals = [_totals(truth, probability, weights, contact_cost) for truth, probability in seeds]
    ranked = [Ties(-probability, truth, weights.unit) for truth, probability in seeds]

    def values(seed: int, counts: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            *brier, profit = _of_totals(counts @ totals[seed])
            return np.column_stack([*brier, *_lifts(*ranked[seed](counts)), profit])

    return dict(zip(DETAILS, intervals_of(values, weights.fewer(FEW)), strict=True))


def _totals(truth: Floats, probability: Floats, weights: CustomerWeights, contact_cost: float) -> Floats:
    """`[customers, 2 + 3 bins]`: examples and profit, then by bin examples, churners and predicted churners."""
    bins = calibration_bins(probability)
    profit = np.where(probability > contact_cost, truth - contact_cost, 0.0)
    columns = [np.ones_like(truth), profit]
    for values in (np.ones_like(truth), truth, probability):
        columns += [np.where(bins == number, values, 0.0) for number in range(BINS)]
    return np.column_stack([np.bincount(weights.unit, column, weights.customers) for column in columns])


def _of_totals(totals: Floats) -> list[Floats]:
    every, profit = totals[:, :1], totals[:, 1:2]
    sizes, churners, predicted = (totals[:, 2 + BINS * part : 2 + BINS * (part + 1)] for part in range(3))
    rate = churners.sum(axis=1, keepdims=True) / every
    divisor = np.maximum(sizes, 1e-12)  # an empty bin adds nothing to either sum
    reliability = (sizes * ((predicted - churners) / divisor) ** 2).sum(axis=1, keepdims=True) / every
    resolution = (sizes * np.where(sizes > 0, churners / divisor - rate, 0.0) ** 2).sum(axis=1, keepdims=True) / every
    return [reliability, resolution, rate * (1 - rate), profit / every]


def _lifts(weight: Floats, churn: Floats) -> list[Floats]:
    """The lift at each depth, then the gain at each: `[weightings, 1]` each. From the most at risk down, `weight` and
    `churn` [weightings, ties] are of those who tie; where the boundary of a depth cuts them, they count in proportion.
    """
    above = np.cumsum(weight, axis=1) - weight
    every, churners = weight.sum(axis=1, keepdims=True), churn.sum(axis=1, keepdims=True)
    gains = []
    for depth in DEPTHS:
        included = np.where(weight > 0, np.clip((depth * every - above) / weight, 0, 1), 0)
        gains.append((churn * included).sum(axis=1, keepdims=True) / churners)
    return [*(gain / depth for gain, depth in zip(gains, DEPTHS, strict=True)), *gains]
