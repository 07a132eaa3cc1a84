"""Intervals of time since the last event, in each of which a survival model's hazard is constant."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from features.sequences.gaps import Gaps

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
SHORTEST = 0.5  # days of an interval at the least: a shorter one could take any rate
FOREVER = 1e5  # days


@dataclass(frozen=True)
class Intervals:
    """`begins` [intervals] in days; `log_rate` [intervals]: logarithm of everybody's rate, where training starts."""

    begins: list[float]
    log_rate: list[float]

    @classmethod
    def fit(cls, gaps: Gaps) -> Self:
        """Begins at quantiles of the inter-event times that an event ended. A rate is events observed divided by days
        of exposure over all inter-event times, with one event and its mean time added.
        """
        known = np.isfinite(gaps.days)
        days, observed = gaps.days[known], gaps.ended[known] == 1
        begins = [0.0]
        for quantile in np.quantile(days[observed], QUANTILES) if observed.any() else []:
            if quantile - begins[-1] >= SHORTEST:
                begins.append(float(quantile))
        edges = np.array([*begins, FOREVER])
        exposure = np.clip(days[:, None] - edges[:-1], 0, np.diff(edges)).sum(0)
        events = np.histogram(days[observed], edges)[0]
        prior = max(float(observed.sum()), 1.0) / max(float(days.sum()), 1.0)
        return cls(begins, np.log((events + 1) / (exposure + 1 / prior)).tolist())
