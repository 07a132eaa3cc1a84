"""The survival head: a hazard, constant within each of a few stretches of time since the last event, that changes from
stretch to stretch and with the state.

With rates `r_j` over stretches `[e_j, e_j + 1)`, the cumulative hazard from a to b is the sum of `r_j` times the time
that [a, b) spends in stretch j. Who has been silent for s stays silent for h more with probability
`exp(-H(s, s + h))`, exactly and for every horizon; a gap of d has the log likelihood `log r(d) - H(0, d)`, and one that
has lasted d so far `-H(0, d)`.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from features.sequences.gaps import Gaps

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
SHORTEST = 0.5  # days of a stretch at the least: a shorter one could take any rate
FOREVER = 1e5  # days
LEAST = 1e-6  # the least cumulative hazard, so that its logarithm stays finite


def stretches(gaps: Gaps) -> tuple[list[float], list[float]]:
    """The stretches' beginnings in days, at quantiles of the gaps that ended, and the logarithm of the rate in each
    over all gaps: ends divided by days lived through, with one end and its mean gap added.
    """
    known = np.isfinite(gaps.days)
    days, ended = gaps.days[known], gaps.ended[known] == 1
    begins = [0.0]
    for quantile in np.quantile(days[ended], QUANTILES) if ended.any() else []:
        if quantile - begins[-1] >= SHORTEST:
            begins.append(float(quantile))
    edges = np.array([*begins, FOREVER])
    lived = np.clip(days[:, None] - edges[:-1], 0, np.diff(edges)).sum(0)
    ends = np.histogram(days[ended], edges)[0]
    prior = max(float(ended.sum()), 1.0) / max(float(days.sum()), 1.0)
    return begins, np.log((ends + 1) / (lived + 1 / prior)).tolist()


class Hazard(keras.layers.Layer):
    """From the logarithms of the rates [..., stretches] and the silence [...] in days to the logit of staying silent
    over each horizon [..., horizons].
    """

    def __init__(self, begins: Sequence[float], horizons: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.begins = np.array(begins, np.float32)
        self.widths = np.diff(np.array([*begins, FOREVER])).astype(np.float32)
        self.horizons = np.array(horizons, np.float32)

    def call(self, log_rate: Any, silence: Any) -> Any:
        until = silence[..., None] + self.horizons
        lived = self._lived(until) - self._lived(silence)[..., None, :]
        cumulative = ops.maximum(ops.sum(lived * ops.exp(log_rate)[..., None, :], axis=-1), LEAST)
        return -cumulative - ops.log(-ops.expm1(-cumulative))

    def loss(self, log_rate: Any, days: Any, ended: Any) -> Any:
        """The negative log likelihood of each gap; 0 where it is not known (NaN)."""
        known = ops.isfinite(ended)
        days, ended = ops.where(known, days, 0.0), ops.where(known, ended, 0.0)
        lived = self._lived(days)
        from_begin = days[..., None] - self.begins
        within = ops.cast((from_begin >= 0) & (from_begin < self.widths), log_rate.dtype)
        each = ops.sum(ops.exp(log_rate) * lived - ended[..., None] * within * log_rate, axis=-1)
        return ops.where(known, each, 0.0)

    def _lived(self, days: Any) -> Any:
        """[..., stretches]: of `days` since the last event, how many were spent in each."""
        return ops.clip(days[..., None] - self.begins, 0.0, self.widths)
