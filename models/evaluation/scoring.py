"""The one function by which models are scored: every metric with its interval."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import TAILS, CustomerWeights, Interval, figures, interval_of
from models.evaluation.metrics import (
    BINS,
    LIFT_SHARE,
    METRICS,
    Floats,
    calibration_bins,
    checked,
    example_log_loss,
    example_squared_error,
)
from models.evaluation.order import example_auc, example_average_precision, example_gain

REPLICATES = 1000  # of the calibration error, the one figure that is no mean over examples
OF_CHURNERS = ("roc_auc", "average_precision", "lift_at_10_percent")
FEWEST_OF_A_CLASS = 4  # customers: with 3, one replicate in twenty would draw none of them (exp(-3)), with 4 one in 55


def score(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> dict[str, Interval]:
    """Every metric of `METRICS` for `labels` and `probabilities` `[rows]`, with its interval.

    Of several seeds it is the mean over their metrics: what one fit does on average. All are means of example values
    (see `intervals.means`, and `order` for those of order), but for the calibration error. Raises ValueError for labels
    or probabilities that are not fit to be scored.
    """
    truth, guess = checked(labels, probabilities)
    if truth.shape != (len(weights),):
        raise ValueError(f"labels {truth.shape} do not match weights for {len(weights)} examples")
    by_seed = {
        "roc_auc": each_seed(example_auc, weights, truth, guess),
        "average_precision": each_seed(example_average_precision, weights, truth, guess),
        "log_loss": example_log_loss(truth, guess),
        "brier": example_squared_error(truth, guess),
        "lift_at_10_percent": each_seed(lift(LIFT_SHARE), weights, truth, guess),
    }
    intervals = figures(by_seed, weights)
    intervals |= {name: drawable(intervals[name], truth, weights) for name in OF_CHURNERS}
    intervals["calibration_error"] = _calibration_error(truth, guess, weights)
    return {name: intervals[name] for name in METRICS}


def each_seed(values: Callable[..., Floats], weights: CustomerWeights, *rows: ArrayLike) -> Floats:
    """`[rows]`: `values` of the examples of each seed, of which every one of `rows` holds something."""
    seeds = zip(*(weights.by_seed(column) for column in rows), strict=True)
    return np.concatenate([np.zeros(0), *(values(*seed) for seed in seeds)])


def lift(depth: float) -> Callable[[Floats, Floats], Floats]:
    """Example values of the lift: churn among the `depth` most at risk, divided by churn among all."""
    return lambda truth, guess: example_gain(truth, guess, depth) / depth


def drawable(interval: Interval, labels: ArrayLike, weights: CustomerWeights) -> Interval:
    """A metric of order, without limits where there are not `enough_of_each_class`."""
    return interval if enough_of_each_class(labels, weights) else Interval(interval.value, None, None)


def enough_of_each_class(labels: ArrayLike, weights: CustomerWeights) -> bool:
    """Whether no more than one replicate in forty would draw no customer of a class that is there."""
    churned = weights.by_seed(labels)[0] == 1 if len(weights) else np.zeros(0, bool)
    classes = (np.unique(weights.unit[mask]) for mask in (churned, ~churned) if mask.any())
    return all(len(customers) >= FEWEST_OF_A_CLASS for customers in classes)


def _calibration_error(truth: Floats, guess: Floats, weights: CustomerWeights) -> Interval:
    """The mean absolute difference between predicted and observed churn over ten bins, those of the undrawn examples.

    It sums absolute values, so noise only raises it, and resampling adds the noise once more: plain percentiles of a
    perfect model's replicates never come near its true error of 0. So the lower limit is mirrored in the value (the
    basic bootstrap; Davison and Hinkley 1997, section 5.2.1), and is 0 where the value is no more than the noise alone
    reaches in 97.5 % of the replicates: however the truth lies, the error differs from it by no more than the like sum
    of the sample's own noise. The upper limit stays, and errs on the safe side. Seeds are averaged and not drawn.
    """
    if not len(weights):
        return Interval(None, None, None)
    few = weights.fewer(REPLICATES)
    excess = each_seed(_excess_by_bin, weights, truth, guess).reshape(weights.seeds, -1, BINS)
    columns = excess.transpose(0, 2, 1).reshape(-1, excess.shape[1])
    point = columns.mean(axis=1)
    totals = few.totals(few.by_customer(np.vstack([columns, np.ones(excess.shape[1])])))
    moved = totals[:, :-1] / totals[:, -1:]
    value, draws, noise = (np.abs(sums).sum(axis=-1) / weights.seeds for sums in (point, moved, moved - point))
    plain = interval_of(float(value), draws, weights)
    if plain.low is None or plain.high is None:
        return plain
    mirrored = min(max(0.0, 2 * float(value) - plain.high), float(value))
    within_noise = value <= np.quantile(noise, TAILS[1])
    return Interval(float(value), 0.0 if within_noise else mirrored, max(plain.high, float(value)))


def _excess_by_bin(truth: Floats, guess: Floats) -> Floats:
    """`[examples * bins]`: observed minus predicted churn in the example's bin, 0 in the others."""
    in_bin = calibration_bins(guess)[:, None] == np.arange(BINS)
    return np.where(in_bin, (truth - guess)[:, None], 0.0).ravel()
