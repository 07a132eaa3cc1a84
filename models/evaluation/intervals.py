"""How sure a figure is: 95 % intervals by resampling customers, the same resamples for every model.

Rows of one customer are not independent, so whole customers are drawn, with all their rows. Every model meets the same
draws, so that differences are paired.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.evaluation.metrics import METRICS, Floats, Scorer

LEVEL = 0.95
CHUNK = 2**18  # weights in memory at once, so that memory does not grow with the number of replicates


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % limits. All None where the figure is undefined; the limits alone are None where they cannot
    be told: from fewer than two customers, or where more than one replicate in forty leaves the figure undefined.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class CustomerWeights:
    """How often each replicate drew each customer. `unit [examples]` is an example's customer, 0 to `customers - 1`."""

    unit: NDArray[np.int64]
    customers: int
    replicates: int
    random_state: int

    def __len__(self) -> int:
        return len(self.unit)

    def chunks(self) -> Iterator[Floats]:
        """Counts `[some replicates, customers]`, the same at every call. Each row sums to `customers`."""
        generator = np.random.default_rng(self.random_state)
        size = max(1, CHUNK // max(len(self.unit), self.customers, 1))
        for start in range(0, self.replicates if self.customers else 0, size):
            rows = min(size, self.replicates - start)
            drawn = generator.integers(self.customers, size=(rows, self.customers))
            cells = drawn + self.customers * np.arange(rows)[:, None]
            counts = np.bincount(cells.ravel(), minlength=rows * self.customers)
            yield counts.reshape(rows, self.customers).astype(np.float64)

    def within(self, mask: NDArray[np.bool_]) -> "CustomerWeights":
        """Draws among the customers of the masked examples, for these."""
        customers, unit = np.unique(self.unit[mask], return_inverse=True)
        return CustomerWeights(unit, len(customers), self.replicates, self.random_state)


def customer_weights(customer_id: ArrayLike, replicates: int = 1000, random_state: int = 0) -> CustomerWeights:
    """Draws for the examples of `customer_id [examples]`, which depend on who the customers are, not on their order.

    Raises ValueError where an example has no customer.
    """
    codes, customers = pd.factorize(np.asarray(customer_id, dtype=object), sort=True)
    if (codes < 0).any():
        raise ValueError(f"{int((codes < 0).sum())} of {len(codes)} examples have no customer_id")
    return CustomerWeights(codes.astype(np.int64), len(customers), replicates, random_state)


def score(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> dict[str, Interval]:
    """Every metric of `METRICS` with its interval. This is the one function by which models are scored.

    Limits are percentiles of the replicates, but for the lower one of `calibration_error`: see `_calibration_interval`.
    Raises ValueError for labels or probabilities that are not fit to be scored.
    """
    if np.shape(labels) != (len(weights),):
        raise ValueError(f"labels {np.shape(labels)} do not match weights for {len(weights)} examples")
    scorer = Scorer(labels, probabilities, weights.unit)
    values = scorer(np.ones((1, weights.customers)))
    chunks, noise = [], []
    for counts in weights.chunks():
        chunks.append(scorer(counts))
        noise.append(scorer.calibration_noise(counts))
    draws = {name: np.concatenate([chunk[name] for chunk in chunks] or [np.zeros(0)]) for name in METRICS}
    intervals = {name: interval_of(float(values[name][0]), draws[name], weights) for name in METRICS}
    return intervals | {"calibration_error": _calibration_interval(intervals["calibration_error"], noise)}


def mean(values: ArrayLike, weights: CustomerWeights) -> Interval:
    """The mean of `values [examples]`, with its interval: a base rate, or a paired difference of losses.

    Raises ValueError for values that are not finite or do not match the weights.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(weights),):
        raise ValueError(f"values {numbers.shape} do not match weights for {len(weights)} examples")
    if not np.isfinite(numbers).all():
        raise ValueError("a mean over NaN or infinite values is not defined: leave them out first")
    if not len(numbers):
        return Interval(None, None, None)
    sums = np.bincount(weights.unit, weights=numbers, minlength=weights.customers)
    totals = np.column_stack([sums, np.bincount(weights.unit, minlength=weights.customers)])
    draws = np.concatenate([counts @ totals for counts in weights.chunks()] or [np.zeros((0, 2))])
    return interval_of(float(numbers.mean()), draws[:, 0] / draws[:, 1], weights)


def intervals_of(values: Callable[[Floats], Floats], weights: CustomerWeights) -> list[Interval]:
    """For each column of `values(counts)`, [weightings, columns], its interval; what is not finite is undefined."""
    point = values(np.ones((1, weights.customers)))
    draws = np.concatenate([point[:0], *(values(counts) for counts in weights.chunks())])
    point, draws = (np.where(np.isfinite(figures), figures, np.nan) for figures in (point, draws))
    return [interval_of(float(value), column, weights) for value, column in zip(point[0], draws.T, strict=True)]


def interval_of(value: float, draws: Floats, weights: CustomerWeights) -> Interval:
    """The figure with the percentiles of its replicates `draws`; NaN is undefined."""
    if np.isnan(value):
        return Interval(None, None, None)
    defined = draws[~np.isnan(draws)]
    if weights.customers < 2 or not len(defined) or len(defined) < (1 + LEVEL) / 2 * len(draws):
        return Interval(value, None, None)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _calibration_interval(interval: Interval, noise: list[Floats]) -> Interval:
    """A calibration error sums absolute values, so noise only raises it, and resampling adds the noise once more: plain
    percentiles of a perfect model's replicates never come near its true error of 0. So the lower limit is mirrored in
    the value (the basic bootstrap; Davison and Hinkley 1997, section 5.2.1), and is 0 where the value is no more than
    the noise alone reaches in 97.5 % of the replicates. The upper limit stays, and errs on the safe side.
    """
    value, low, high = interval.value, interval.low, interval.high
    if value is None or low is None or high is None:
        return interval
    within_noise = value <= np.quantile(np.concatenate(noise), (1 + LEVEL) / 2)
    return Interval(value, 0.0 if within_noise else min(max(0.0, 2 * value - high), value), max(high, value))
