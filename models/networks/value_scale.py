"""The scale on which networks learn purchases and spend."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from features.arrays import Floats


@dataclass(frozen=True)
class ValueScale:
    """Between a count or an amount and what a network is trained on: the value as a multiple of `unit`, its training
    mean, whose expectation's logarithm is the network's raw output. Refunds can make spend negative; it counts as 0
    here. All fields are [horizons].

    `factor` brings the total of the predictions on the training examples to the total of their labels, which early
    stopping leaves a little apart.
    """

    unit: list[float]
    factor: list[float]

    @classmethod
    def fit(cls, values: Floats) -> Self:
        mean = np.nanmean(np.maximum(values, 0), axis=0)
        return cls(np.where(mean > 1e-9, mean, 1.0).tolist(), [1.0] * values.shape[1])

    def to_scale(self, values: Floats) -> Floats:
        return np.asarray(np.maximum(values, 0) / self.unit)

    def from_scale(self, raw: Floats) -> Floats:
        # Nobody is expected to buy e^30 times as much as the mean: the bound only keeps the exponential finite.
        return np.asarray(np.exp(np.clip(raw, -30, 30)) * self.unit * self.factor)

    def calibrated(self, values: Floats, raw: Floats) -> Self:
        observed = np.isfinite(values)
        expected = np.where(observed, self.from_scale(raw), 0).sum(0) / self.factor
        total = np.where(observed, np.maximum(values, 0), 0).sum(0)
        factor = np.divide(total, expected, out=np.ones_like(total), where=expected > 0)
        return type(self)(self.unit, factor.tolist())
