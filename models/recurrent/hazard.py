"""The survival head: a hazard, constant within each of a few intervals of time since the last event, that changes from
interval to interval and with the state.

With rates `r_j` over intervals `[e_j, e_j + 1)`, the cumulative hazard from a to b is the sum of `r_j` times the
exposure of [a, b) to interval j. Who has had no event for s has none for h more with probability `exp(-H(s, s + h))`,
exactly and for every horizon; an inter-event time of d has the log likelihood `log r(d) - H(0, d)`, and one that has
lasted d so far `-H(0, d)`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.recurrent.intervals import FOREVER

LEAST = 1e-6  # the least cumulative hazard, so that its logarithm stays finite


class Hazard(keras.layers.Layer):
    """From the logarithms of the rates [..., intervals] and the recency [...] in days to the logit of no event within
    each horizon [..., horizons].
    """

    def __init__(self, begins: Sequence[float], horizons: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.begins = np.array(begins, np.float32)
        self.widths = np.diff(np.array([*begins, FOREVER])).astype(np.float32)
        self.horizons = np.array(horizons, np.float32)

    def call(self, log_rate: Any, recency: Any) -> Any:
        until = recency[..., None] + self.horizons
        exposure = self._exposure(until) - self._exposure(recency)[..., None, :]
        cumulative = ops.maximum(ops.sum(exposure * ops.exp(log_rate)[..., None, :], axis=-1), LEAST)
        return -cumulative - ops.log(-ops.expm1(-cumulative))

    def loss(self, log_rate: Any, days: Any, event_observed: Any, since: Any = None) -> Any:
        """The negative log likelihood of each inter-event time; 0 where it is not known (NaN). With `since`, the days
        without an event that are given, it is left-truncated there: `H(since, days) - log r(days)`.
        """
        known = ops.isfinite(event_observed)
        days, event_observed = ops.where(known, days, 0.0), ops.where(known, event_observed, 0.0)
        exposure = self._exposure(days)
        if since is not None:
            exposure -= self._exposure(since)
        from_begin = days[..., None] - self.begins
        within = ops.cast((from_begin >= 0) & (from_begin < self.widths), log_rate.dtype)
        losses = ops.sum(ops.exp(log_rate) * exposure - event_observed[..., None] * within * log_rate, axis=-1)
        return ops.where(known, losses, 0.0)

    def _exposure(self, days: Any) -> Any:
        """[..., intervals]: of `days` since the last event, how many were spent in each."""
        return ops.clip(days[..., None] - self.begins, 0.0, self.widths)
