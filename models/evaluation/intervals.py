"""How sure a figure is: 95 % intervals over customers and seeds, the same resamples for every model.

Rows of one customer are not independent, so whole customers are drawn, with all their examples of all windows. Where
every recipe was fitted with several seeds, seeds are drawn too, in each window. Every model meets the same draws, so
that differences are paired.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.evaluation.metrics import Floats

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
NORMAL_QUANTILE = 1.959963984540054  # of the upper tail
CHUNK = 2**22  # draws in memory at once, so that memory does not grow with the number of replicates
KEPT = 2**28  # bytes of draws that are kept for the next figure; more are drawn again


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % limits. All None where the figure is undefined; the limits alone are None where they cannot
    be told: from fewer than two customers, or where more than one replicate in forty leaves the figure undefined.
    """

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Interval(None, None, None)


@dataclass(frozen=True, eq=False)
class CustomerWeights:
    """How often each replicate draws each customer and, in each window, each seed.

    `unit [examples]` is an example's customer, 0 to `customers - 1`, and `window [examples]` its window. A row is an
    example and a seed, all examples of the first seed before those of the next; values of rows are of this order.
    """

    unit: NDArray[np.int64]
    customers: int
    replicates: int
    random_state: int
    window: NDArray[np.int64]
    seeds: int = 1

    def __len__(self) -> int:
        """Rows."""
        return len(self.unit) * self.seeds

    @property
    def windows(self) -> int:
        return int(self.window.max(initial=0)) + 1

    def chunks(self) -> Iterator[Floats]:
        """Counts `[some replicates, customers]`, the same at every call. Each row sums to `customers`."""
        if self.customers * self.replicates > KEPT:
            yield from (counts.astype(np.float64) for counts in self._drawn())
            return
        size = max(1, CHUNK // max(self.customers, 1))
        for start in range(0, len(self._kept), size):
            yield self._kept[start : start + size].astype(np.float64)

    def totals(self, columns: Floats) -> Floats:
        """`[replicates, columns]`: the sum over the drawn customers of `columns [customers, columns]`."""
        return np.concatenate([np.zeros((0, columns.shape[1])), *(counts @ columns for counts in self.chunks())])

    def by_seed(self, values: ArrayLike) -> Floats:
        """`[..., seeds, examples]` from `[..., rows]`. Raises ValueError for rows that are not those of the weights."""
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.ndim == 0 or numbers.shape[-1] != len(self):
            raise ValueError(f"values {numbers.shape} do not match weights for {len(self)} examples")
        return numbers.reshape(*numbers.shape[:-1], self.seeds, len(self.unit))

    def by_customer(self, values: Floats) -> Floats:
        """`[customers, figures]`: each customer's sum of `values [figures, examples]`."""
        sums = [np.bincount(self.unit, weights=column, minlength=self.customers) for column in values]
        return np.column_stack([np.zeros((self.customers, 0)), *sums])

    @cached_property
    def seed_counts(self) -> Floats:
        """`[replicates, windows, seeds]`: how often each replicate draws each seed in each window."""
        generator = np.random.default_rng([self.random_state, 1])
        shares = np.full(self.seeds, 1 / self.seeds)
        return generator.multinomial(self.seeds, shares, (self.replicates, self.windows)).astype(np.float64)

    def within(self, mask: NDArray[np.bool_]) -> "CustomerWeights":
        """Draws among the customers of the masked examples, for these. `mask [rows]` is the same for every seed."""
        chosen = np.asarray(mask)[: len(self.unit)]
        customers, unit = np.unique(self.unit[chosen], return_inverse=True)
        return replace(self, unit=unit, customers=len(customers), window=self.window[chosen])

    def fewer(self, replicates: int) -> "CustomerWeights":
        """At most so many of the same replicates."""
        first = replace(self, replicates=min(self.replicates, replicates))
        if self.customers * self.replicates <= KEPT:
            first.__dict__["_kept"] = self._kept[:replicates]  # where `cached_property` would keep it
        return first

    @cached_property
    def _kept(self) -> NDArray[np.uint8]:
        drawn = (np.minimum(counts, 255).astype(np.uint8) for counts in self._drawn())
        return np.concatenate([np.zeros((0, self.customers), np.uint8), *drawn])

    def _drawn(self) -> Iterator[NDArray[np.int64]]:
        generator = np.random.default_rng(self.random_state)
        size = max(1, CHUNK // max(self.customers, 1))
        for start in range(0, self.replicates if self.customers else 0, size):
            rows = min(size, self.replicates - start)
            drawn = generator.integers(self.customers, size=(rows, self.customers))
            drawn += self.customers * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * self.customers).reshape(rows, self.customers)


def customer_weights(
    customer_id: ArrayLike,
    replicates: int = 1000,
    random_state: int = 0,
    window: ArrayLike | None = None,
    seeds: int = 1,
) -> CustomerWeights:
    """Draws for the examples of `customer_id [examples]`, which depend on who the customers are, not on their order.
    `window [examples]` counts from 0; without it there is one.

    Raises ValueError where an example has no customer.
    """
    codes, customers = pd.factorize(np.asarray(customer_id, dtype=object), sort=True)
    if (codes < 0).any():
        raise ValueError(f"{int((codes < 0).sum())} of {len(codes)} examples have no customer_id")
    windows = np.zeros(len(codes), np.int64) if window is None else np.asarray(window, np.int64)
    return CustomerWeights(codes.astype(np.int64), len(customers), replicates, random_state, windows, seeds)


def mean(values: ArrayLike, weights: CustomerWeights) -> Interval:
    """The mean of `values [rows]`, with its interval: a base rate, or a paired difference of losses. See `means`."""
    return means(np.asarray(values, dtype=np.float64)[None], weights)[0]


def means(values: ArrayLike, weights: CustomerWeights) -> list[Interval]:
    """The mean over examples and seeds of each of `values [figures, rows]`, with its interval over customers and seeds.

    An example counts once: with the mean over its seeds. A replicate's mean is that of the drawn customers, plus what
    the drawn seeds add. In every window as many seeds are drawn as there are; each adds the deviation of its window's
    mean from that of all seeds, times the window's share of the examples, times sqrt(S / (S - 1)), because deviations
    from a mean over S seeds are too small by that. So all is one product of draws and sums.

    Percentiles of a few seeds are too narrow still: they are those of a normal distribution whose variance was
    estimated from S - 1 deviations a window. So limits lie further out by the ratio of Student's quantile to the
    normal one, with the degrees of freedom of the summed variance (Satterthwaite 1946): infinite, and the percentiles
    plain, where one seed was fitted or seeds do not matter. `make check NAME=coverage` has both.

    Raises ValueError for values that are not finite or do not match the weights.
    """
    by_seed = weights.by_seed(values)
    if not np.isfinite(by_seed).all():
        raise ValueError("a mean over NaN or infinite values is not defined: leave them out first")
    if not len(weights):
        return [UNDEFINED] * len(by_seed)
    of_examples = by_seed.mean(axis=1)
    points = of_examples.mean(axis=1)
    if weights.customers < 2 or not weights.replicates:
        return [Interval(float(point), None, None) for point in points]
    totals = weights.totals(weights.by_customer(np.vstack([of_examples, np.ones(len(weights.unit))])))
    by_customers = totals[:, :-1] / totals[:, -1:] - points
    by_seeds, degrees = _seed_part(by_seed - of_examples[:, None], by_customers.var(axis=0), weights)
    limits = points + np.quantile(by_customers + by_seeds, TAILS, axis=0) * _widening(degrees)
    return [Interval(*map(float, figure)) for figure in zip(points, *limits, strict=True)]


def window_means(values: ArrayLike, weights: CustomerWeights) -> Floats:
    """`[figures, windows]`: the means of `values [figures, rows]` in each window; NaN where it has no examples."""
    of_examples = weights.by_seed(values).mean(axis=-2)
    examples = np.bincount(weights.window, minlength=weights.windows)
    with np.errstate(invalid="ignore"):
        return np.array([np.bincount(weights.window, row, weights.windows) / examples for row in of_examples])


def figures(values: Mapping[str, Floats], weights: CustomerWeights) -> dict[str, Interval]:
    """The interval of the mean of each of `values`, `[rows]` by name; undefined where one is not finite."""
    finite = [name for name, rows in values.items() if rows.size and np.isfinite(rows).all()]
    measured = means(np.array([values[name] for name in finite]), weights) if finite else []
    return dict.fromkeys(values, UNDEFINED) | dict(zip(finite, measured, strict=True))


def interval_of(value: float, draws: Floats, weights: CustomerWeights) -> Interval:
    """The figure with the percentiles of its replicates `draws`; NaN is undefined."""
    if np.isnan(value):
        return UNDEFINED
    defined = draws[~np.isnan(draws)]
    if weights.customers < 2 or not len(defined) or len(defined) < (1 + LEVEL) / 2 * len(draws):
        return Interval(value, None, None)
    low, high = np.quantile(defined, TAILS)
    return Interval(value, float(low), float(high))


def _seed_part(deviation: Floats, customer_variance: Floats, weights: CustomerWeights) -> tuple[Floats, Floats]:
    """What drawn seeds add, `[replicates, figures]`, and the degrees of freedom of each figure's variance `[figures]`,
    that of customers taken as known. `deviation [figures, seeds, examples]` is from the mean over the seeds.
    """
    count, seeds = deviation.shape[:2]
    if seeds == 1:
        return np.zeros((weights.replicates, count)), np.full(count, np.inf)
    of_window = np.zeros((count, weights.windows, seeds))
    for window in range(weights.windows):
        of_window[:, window] = deviation[:, :, weights.window == window].sum(axis=2) / len(weights.unit)
    drawn = weights.seed_counts.reshape(weights.replicates, -1) / seeds
    added = drawn @ of_window.reshape(count, -1).T * np.sqrt(seeds / (seeds - 1))
    variance = (of_window**2).sum(axis=2) / (seeds - 1) / seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = (customer_variance + variance.sum(axis=1)) ** 2 / ((variance**2).sum(axis=1) / (seeds - 1))
    return added, np.where(np.isnan(degrees), np.inf, degrees)


def _widening(degrees: Floats) -> Floats:
    """Student's quantile over the normal one, by degrees of freedom."""
    if np.isinf(degrees).all():
        return np.ones_like(degrees)
    from scipy.special import stdtrit

    finite = np.minimum(degrees, 1e9)
    return np.where(np.isinf(degrees), 1.0, stdtrit(finite, TAILS[1]) / NORMAL_QUANTILE)
