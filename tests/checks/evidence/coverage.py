"""How often does the verdict's interval hold the true difference? Losses are made whose truth is known, and read by the
very function that the verdict reads its differences by.

Customers differ, are in several windows with several examples each, and their losses are skewed or have long tails; a
fit of a window errs by its seed, for all examples alike and for each by itself. In a thousand repeats of three windows
and five seeds, with seed errors from none to 1.2 times the customers' (as measured on CDNOW), the interval must hold
the truth in 93 to 97 of a hundred. Fewer seeds and windows stand below, beside what plain percentiles would hold there;
of them nothing is asked.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from models.evaluation.intervals import CustomerWeights, customer_weights
from models.evaluation.statements.differences import Difference, differences

REPEATS, REPLICATES, CUSTOMERS, BATCH = 1_000, 10_000, 500, 50
SEED_ERRORS = (0.0, 0.3, 0.6, 0.9, 1.2)  # standard errors over seeds, in those over customers
LEAST, MOST = 0.93, 0.97
OTHERS = ((1, 5), (1, 2), (3, 2), (1, 1))  # windows, seeds
TRUTH = 0.002
CUSTOMER, IN_WINDOW, EXAMPLE, BY_SEED = 0.05, 0.04, 0.15, 0.08  # standard deviations of loss differences


@dataclass(frozen=True)
class Design:
    """Who is in which window, `[examples]`, and the draws of them."""

    customer: np.ndarray
    in_window: np.ndarray  # a customer in a window, counted from 0
    weights: CustomerWeights

    @classmethod
    def of(cls, windows: int, seeds: int, customers: int) -> "Design":
        """A customer is in a window with a chance of 0.7, with one to four examples."""
        random = np.random.default_rng([windows, seeds])
        sizes = np.where(random.random((windows, customers)) < 0.7, random.integers(1, 5, (windows, customers)), 0)
        window, customer = (np.repeat(index.ravel(), sizes.ravel()) for index in np.indices(sizes.shape))
        names = np.char.mod("%06d", customer).astype(object)
        in_window = np.unique(window * customers + customer, return_inverse=True)[1]
        return cls(customer, in_window, customer_weights(names, REPLICATES, 0, window, seeds))

    def seed_deviation(self, ratio: float) -> float:
        """The deviation of one fit whose mean over windows and seeds errs by `ratio` times what customers do."""
        sizes = [np.bincount(index) for index in (self.customer, self.in_window)]
        of_customers = CUSTOMER**2 * (sizes[0] ** 2).sum() + IN_WINDOW**2 * (sizes[1] ** 2).sum()
        standard_error = np.sqrt(of_customers + EXAMPLE**2 * len(self.customer)) / len(self.customer)
        shares = np.bincount(self.weights.window) / len(self.customer)
        return float(ratio * standard_error / np.sqrt((shares**2).sum() / self.weights.seeds))

    def losses(self, ratio: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Of a conventional and of a recurrent model, `[rows]`; their expectations differ by `TRUTH`."""
        examples, seeds, windows = len(self.customer), self.weights.seeds, self.weights.windows
        own = CUSTOMER * _skewed(random, self.customer.max() + 1)[self.customer]
        own += IN_WINDOW * random.standard_normal(self.in_window.max() + 1)[self.in_window]
        own += EXAMPLE * random.standard_t(5, examples) / np.sqrt(5 / 3)
        of_fit = self.seed_deviation(ratio) * random.standard_normal((seeds, windows))[:, self.weights.window]
        by_itself = BY_SEED * random.standard_normal((seeds, examples)) if seeds > 1 else 0.0
        conventional = np.broadcast_to(random.exponential(0.4, examples), (seeds, examples))
        return conventional.ravel(), (conventional - TRUTH - own - of_fit - by_itself).ravel()


def main(repeats: int = REPEATS, customers: int = CUSTOMERS) -> bool:
    print(f"{repeats} repeats of {customers} customers; coverage of the 95 % interval (bar: {LEAST} to {MOST})")
    held = []
    for windows, seeds in ((3, 5), *OTHERS):
        design = Design.of(windows, seeds, customers)
        for ratio in SEED_ERRORS if seeds > 1 else (0.0,):
            covered, missed_low = coverage(design, ratio, repeats)
            words = f"{windows} windows, {seeds} seeds, seed errors {ratio:.1f} times the customers'"
            print(f"{words}: {covered:.3f} (the truth below in {missed_low:.3f})", flush=True)
            if (windows, seeds) == (3, 5):
                held.append(covered)
    print(f"coverage with three windows and five seeds: {min(held):.3f} to {max(held):.3f}")
    return min(held) >= LEAST and max(held) <= MOST


def coverage(design: Design, ratio: float, repeats: int) -> tuple[float, float]:
    """The share of the repeats whose interval holds the truth, and of those where it lies above the truth."""
    random = np.random.default_rng([int(100 * ratio), 1])
    intervals: list[Difference] = []
    while len(intervals) < repeats:
        pairs = [design.losses(ratio, random) for _ in range(min(BATCH, repeats - len(intervals)))]
        intervals += differences(pairs, design.weights)
    limits = np.array([(interval.low, interval.high) for interval in intervals], np.float64)
    return float(((limits[:, 0] <= TRUTH) & (limits[:, 1] >= TRUTH)).mean()), float((limits[:, 0] > TRUTH).mean())


def _skewed(random: np.random.Generator, count: int) -> np.ndarray:
    """Of mean 0 and variance 1."""
    return (random.gamma(2.0, size=count) - 2) / np.sqrt(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    sys.exit(0 if main(**vars(parser.parse_args())) else 1)
