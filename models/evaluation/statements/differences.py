"""A paired difference between two models: over all examples, with its interval, and in every window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights, means, window_means
from models.evaluation.metrics import Floats

LEAST_CUSTOMERS = 6
"""Below it there are no limits: that all of n customers speak for one model has, by chance alone, the probability
`2 * 0.5 ** n` (the sign test), which exceeds 5 % for five.
"""


@dataclass(frozen=True)
class Difference:
    """A difference with its 95 % limits, and that of each forward window, oldest first. All None, and no windows, where
    there is nothing to compare; the limits alone are None where they cannot be told.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    windows: tuple[float | None, ...] = ()

    @property
    def disagrees(self) -> bool:
        """Whether windows differ in sign."""
        signs = {np.sign(value) for value in self.windows if value}
        return len(signs) > 1


def differences(pairs: Sequence[tuple[Floats, Floats]], weights: CustomerWeights) -> list[Difference]:
    """The mean of the first minus the second of each pair of example values `[rows]`, seed by seed; without limits for
    fewer than LEAST_CUSTOMERS.
    """
    if not pairs:
        return []
    if weights.customers < LEAST_CUSTOMERS:
        weights = replace(weights, replicates=0)
    values = np.array([first - second for first, second in pairs]).reshape(len(pairs), -1)
    return [
        Difference(interval.value, interval.low, interval.high, _numbers(row) if interval.value is not None else ())
        for interval, row in zip(means(values, weights), window_means(values, weights), strict=True)
    ]


def only_outcome(labels: ArrayLike) -> str | None:
    """Where all test examples have one outcome, that they have, in words. Then nothing is there to tell customers
    apart, and who says it more surely has the lower log loss: there is nothing to compare. None elsewhere.
    """
    churn = np.asarray(labels, np.float64)
    if not churn.size or churn.min() != churn.max():
        return None
    return "every test example churned" if churn[0] else "no test example churned"


def _numbers(row: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in row)
