"""How sure a figure is: 95 % intervals over customers and seeds, the same resamples for every model.

Rows of one customer are not independent, so whole customers are drawn, with all their examples of all windows. Where
every recipe was fitted with several seeds, seeds are drawn too, in each window. Every model meets the same draws, so
that differences are paired.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.evaluation.metrics import METRICS, Floats, Scorer, example_log_loss, example_squared_error
from models.evaluation.placements import FEWEST_OF_A_CLASS, example_auc

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
NORMAL_QUANTILE = 1.959963984540054  # of the upper tail
CHUNK = 2**18  # weights of examples in memory at once, so that memory does not grow with the number of replicates
PRODUCT = 2**22  # weights of customers in one matrix product
KEPT = 2**28  # bytes of draws that are kept for the next figure; more are drawn again
FEW = 400  # replicates of figures that sort or bin the examples: percentiles of them are within .1 standard errors


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

    def chunks(self, size: int | None = None) -> Iterator[Floats]:
        """Counts `[some replicates, customers]`, the same at every call. Each row sums to `customers`."""
        size = size or max(1, CHUNK // max(len(self.unit), self.customers, 1))
        if self.customers * self.replicates <= KEPT:
            for start in range(0, len(self._kept), size):
                yield self._kept[start : start + size].astype(np.float64)
        else:
            yield from (counts.astype(np.float64) for counts in self._drawn(size))

    def totals(self, columns: Floats) -> Floats:
        """`[replicates, columns]`: the sum over the drawn customers of `columns [customers, columns]`."""
        size = max(1, PRODUCT // max(self.customers, 1))
        products = [counts @ columns for counts in self.chunks(size)]
        return np.concatenate([np.zeros((0, columns.shape[1])), *products])

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
        """The same with at most so many replicates."""
        return replace(self, replicates=min(self.replicates, replicates))

    @cached_property
    def _kept(self) -> NDArray[np.uint8]:
        most = np.zeros((0, self.customers), np.uint8)
        return np.concatenate([most, *(np.minimum(counts, 255).astype(np.uint8) for counts in self._drawn(64))])

    def _drawn(self, size: int) -> Iterator[NDArray[np.int64]]:
        generator = np.random.default_rng(self.random_state)
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


def score(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> dict[str, Interval]:
    """Every metric of `METRICS` with its interval. This is the one function by which models are scored.

    Of several seeds it is the mean over their metrics: what one fit does on average. Log loss, Brier score and, by
    DeLong's placements, ROC AUC are means of example values (see `means`). The others sort or bin, and are computed in
    each of `FEW` replicates; their limits are percentiles, but for the lower one of `calibration_error`: see
    `_calibration_interval`. Raises ValueError for labels or probabilities that are not fit to be scored.
    """
    if np.shape(labels) != (len(weights),):
        raise ValueError(f"labels {np.shape(labels)} do not match weights for {len(weights)} examples")
    by_means = {
        "roc_auc": auc_interval(labels, probabilities, weights),
        "log_loss": mean(example_log_loss(labels, probabilities), weights),
        "brier": mean(example_squared_error(labels, probabilities), weights),
    }
    others = [name for name in METRICS if name not in by_means]
    few = weights.fewer(FEW)
    truth, guess = weights.by_seed(labels), weights.by_seed(probabilities)
    scorers = [Scorer(truth[seed], guess[seed], weights.unit) for seed in range(weights.seeds)]

    def values(seed: int, counts: Floats) -> Floats:
        figures = scorers[seed](counts)
        return np.column_stack([figures[name] for name in others])

    by_sorting = dict(zip(others, intervals_of(values, few), strict=True))
    noise = [np.mean([scorer.calibration_noise(counts) for scorer in scorers], axis=0) for counts in few.chunks()]
    by_sorting["calibration_error"] = _calibration_interval(by_sorting["calibration_error"], noise)
    return {name: (by_means | by_sorting)[name] for name in METRICS}


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
    totals = weights.totals(weights.by_customer(np.vstack([of_examples, np.ones(len(weights.unit))])))
    by_customers = totals[:, :-1] / totals[:, -1:] - points
    by_seeds, degrees = _seed_part(by_seed - of_examples[:, None], by_customers.var(axis=0), weights)
    limits = np.full((2, len(points)), np.nan)
    if len(totals) and weights.customers > 1:
        limits = points + np.quantile(by_customers + by_seeds, TAILS, axis=0) * _widening(degrees)
    return [
        Interval(float(point), *(None if np.isnan(limit) else float(limit) for limit in pair))
        for point, pair in zip(points, limits.T, strict=True)
    ]


def window_means(values: ArrayLike, weights: CustomerWeights) -> Floats:
    """`[figures, windows]`: the means of `values [figures, rows]` in each window; NaN where it has no examples."""
    of_examples = weights.by_seed(values).mean(axis=-2)
    examples = np.bincount(weights.window, minlength=weights.windows)
    with np.errstate(invalid="ignore"):
        return np.array([np.bincount(weights.window, row, weights.windows) / examples for row in of_examples])


def auc_interval(labels: ArrayLike, probabilities: ArrayLike, weights: CustomerWeights) -> Interval:
    """ROC AUC over all examples, the mean over seeds. Limits are None where a class has so few customers that more than
    one replicate in forty would draw none of them.
    """
    truth, guess = weights.by_seed(labels), weights.by_seed(probabilities)
    values = np.array([example_auc(*seed) for seed in zip(truth, guess, strict=True)])
    if not values.size or np.isnan(values).any():
        return UNDEFINED
    interval = mean(values.ravel(), weights)
    enough = all(len(np.unique(weights.unit[truth[0] == label])) >= FEWEST_OF_A_CLASS for label in (0, 1))
    if interval.low is None or interval.high is None or not enough:
        return Interval(interval.value, None, None)
    return Interval(interval.value, max(interval.low, 0.0), min(interval.high, 1.0))


def intervals_of(values: Callable[[int, Floats], Floats], weights: CustomerWeights) -> list[Interval]:
    """For each column of `values(seed, counts)`, [weightings, columns], the interval of its mean over the seeds; what
    is not finite is undefined. Seeds are drawn whole, with all their windows.
    """
    seeds = range(weights.seeds)
    by_seed = np.stack([values(seed, np.ones((1, weights.customers)))[0] for seed in seeds])
    point = by_seed.mean(axis=0)
    chunks = [np.mean([values(seed, counts) for seed in seeds], axis=0) for counts in weights.chunks()]
    draws = np.concatenate([point[None][:0], *chunks])
    if weights.seeds > 1:
        draws = draws + weights.seed_counts[:, 0] @ (by_seed - point) * _inflation(weights.seeds) / weights.seeds
    point, draws = (np.where(np.isfinite(figures), figures, np.nan) for figures in (point, draws))
    return [interval_of(float(value), column, weights) for value, column in zip(point, draws.T, strict=True)]


def interval_of(value: float, draws: Floats, weights: CustomerWeights) -> Interval:
    """The figure with the percentiles of its replicates `draws`; NaN is undefined."""
    if np.isnan(value):
        return UNDEFINED
    defined = draws[~np.isnan(draws)]
    if weights.customers < 2 or not len(defined) or len(defined) < (1 + LEVEL) / 2 * len(draws):
        return Interval(value, None, None)
    low, high = np.quantile(defined, TAILS)
    return Interval(value, float(low), float(high))


def _inflation(seeds: int) -> float:
    return float(np.sqrt(seeds / (seeds - 1)))


def _seed_part(deviation: Floats, customer_variance: Floats, weights: CustomerWeights) -> tuple[Floats, Floats]:
    """What drawn seeds add, `[replicates, figures]`, and the degrees of freedom of each figure's variance `[figures]`,
    that of customers taken as known. `deviation [figures, seeds, examples]` is from the mean over the seeds.
    """
    figures, seeds = deviation.shape[:2]
    if seeds == 1:
        return np.zeros((weights.replicates, figures)), np.full(figures, np.inf)
    of_window = np.zeros((figures, weights.windows, seeds))
    for window in range(weights.windows):
        of_window[:, window] = deviation[:, :, weights.window == window].sum(axis=2) / len(weights.unit)
    drawn = weights.seed_counts.reshape(weights.replicates, -1) / seeds
    added = drawn @ of_window.reshape(figures, -1).T * _inflation(seeds)
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


def _calibration_interval(interval: Interval, noise: Sequence[Floats]) -> Interval:
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
