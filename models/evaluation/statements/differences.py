"""A paired difference between two models: over all examples, with its interval, and in every window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.intervals import CustomerWeights, means, window_means
from models.evaluation.metrics import Floats


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
    """The mean of the first minus the second of each pair of example values `[rows]`, seed by seed."""
    if not pairs:
        return []
    values = np.array([first - second for first, second in pairs]).reshape(len(pairs), -1)
    return [
        Difference(interval.value, interval.low, interval.high, _numbers(row) if interval.value is not None else ())
        for interval, row in zip(means(values, weights), window_means(values, weights), strict=True)
    ]


def _numbers(row: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in row)
