"""Paired differences: every model against one reference on the same examples, corrected for multiple comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights, Interval, mean
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result


@dataclass(frozen=True)
class Paired:
    """The log loss of `reference` minus that of `name`, in nats: positive favours `name`. `p` is the two-sided
    bootstrap p-value of no difference, `p_holm` the same after Holm's correction for all the models compared; None
    where there is no interval.
    """

    name: str
    reference: str
    difference: Interval
    p: float | None
    p_holm: float | None


def paired_differences(
    results: Sequence[Result], labels: ArrayLike, weights: CustomerWeights, reference: Result
) -> tuple[Paired, ...]:
    """Each of `results` but the reference against it, in their order; `labels [examples]` are the test's churn.

    The p-value counts the replicates on the other side of zero, twice, with one added to both counts so that it is
    never 0 (Davison and Hinkley 1997, section 4.2). Customers are resampled, the same for every model.
    """
    base = example_log_loss(labels, reference.test_probability)
    others = [result for result in results if result.name != reference.name]
    differences = [base - example_log_loss(labels, result.test_probability) for result in others]
    intervals = [mean(difference, weights) for difference in differences]
    raw = [
        None if interval.low is None else _p_value(difference, weights)
        for difference, interval in zip(differences, intervals, strict=True)
    ]
    corrected = iter(holm([p for p in raw if p is not None]))
    return tuple(
        Paired(result.name, reference.name, interval, p, None if p is None else next(corrected))
        for result, interval, p in zip(others, intervals, raw, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979), in the order given: the smallest is multiplied by how many there are,
    the next by one less, and none is smaller than one before it.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors), 1.0)
    corrected = np.empty(len(p_values))
    corrected[order] = stepped
    return [float(p) for p in corrected]


def _p_value(difference: np.ndarray, weights: CustomerWeights) -> float:
    totals = np.bincount(weights.unit, difference, minlength=weights.customers)
    # The sign of a replicate's mean is that of its total.
    sums = np.concatenate([counts @ totals for counts in weights.chunks()])
    tail = min(int((sums <= 0).sum()), int((sums >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(sums) + 1))
