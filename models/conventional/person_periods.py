"""Person-periods: an example as one row for each period after its cutoff in which its customer was still silent when it
began, with the aggregates at the cutoff and where in time the period lies. What a hazard is learnt from by a model that
knows of no time (Allison 1982, "Discrete-time methods for the analysis of event histories").
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from features.arrays import Floats, Integers
from features.dataset import Dataset, Labels
from features.sequences.gaps import NextEvent, ends_of_knowledge
from features.time import MICROSECONDS_A_DAY

ENDS = (3, 7, 14, 28, 56, 91, 182, 365, 730)  # days from the cutoff at which periods end, beside the horizons
COLUMNS = ("period_begin", "period_days", "silence_at_period", "overdue_at_period")
CONTRADICTING = 0.01  # the share of labels from which an event coming is not what they mean


@dataclass(frozen=True)
class Periods:
    """Period `j` is `[begins[j], ends[j])`, in days from the cutoff.

    Where churn is no event coming, periods follow one another (`chained`) up to the longest horizon; who churns was
    silent in all of them. Elsewhere (an event is no return, an end is what counts, the horizon begins later) the labels
    alone say what came: the periods are the horizons, each from the cutoff on.
    """

    horizons: tuple[int, ...]
    begins: list[int]
    ends: list[int]
    chained: bool

    @classmethod
    def of(cls, train: Dataset) -> Self:
        """As the labels of `train` have it: chained unless more of them than CONTRADICTING say otherwise than the
        events of the histories.
        """
        if _contradicted(train) > CONTRADICTING:
            return cls(train.horizons, [0] * len(train.horizons), list(train.horizons), False)
        ends = sorted({*train.horizons, *(end for end in ENDS if end < max(train.horizons))})
        return cls(train.horizons, [0, *ends[:-1]], ends, True)

    def __len__(self) -> int:
        return len(self.ends)

    def rows(self, data: Dataset) -> Dataset:
        """Every period of every example, an example's one after the other, without labels."""
        examples = np.repeat(np.arange(len(data)), len(self))
        return self._placed(replace(data, labels=None), examples, np.tile(np.arange(len(self)), len(data)))

    def learnt_from(self, data: Dataset) -> Dataset:
        """The periods of which is known whether an event came: those that end by the end of knowledge, and before which
        none had come. Their `churn`, the one label, is 1 where none came. Whether an event came has no say in which
        periods are there, so that an example whose horizon is known in part teaches its first periods unbiased.
        """
        assert data.labels is not None
        if self.chained:
            until = _days(ends_of_knowledge(data)[data.sequences.history] - data.cutoff)
            days = _event_days(data)
            there = (days[:, None] >= self.begins) & (until[:, None] >= self.ends)
            silent = days[:, None] >= np.array(self.ends)
        else:
            there, silent = np.isfinite(data.labels.churn), data.labels.churn == 1
        examples, periods = np.nonzero(there)
        unknown = np.full((len(examples), 1), np.nan)
        placed = self._placed(data, examples, periods)
        return replace(placed, labels=Labels(silent[there][:, None].astype(np.float64), unknown, unknown))

    def churn(self, silent: Floats) -> Floats:
        """[examples, horizons], from the probability [examples, periods] of no event in a period given none before."""
        if not self.chained:
            return silent
        return np.column_stack([silent[:, self.until(horizon)].prod(axis=1) for horizon in self.horizons])

    def until(self, horizon: int) -> slice:
        """The periods that make up a horizon."""
        if self.chained:
            return slice(0, self.ends.index(horizon) + 1)
        return slice(self.horizons.index(horizon), self.horizons.index(horizon) + 1)

    def _placed(self, data: Dataset, examples: Integers, periods: Integers) -> Dataset:
        """The rows of these examples and periods, with COLUMNS beside the aggregates."""
        rows = replace(data, earlier=None).select(examples)
        begin, end = (np.array(edges, np.float64)[periods] for edges in (self.begins, self.ends))
        silence = rows.aggregates["days_since_last_event"].to_numpy(np.float64) + begin
        pace = rows.aggregates["gap_mean"].to_numpy(np.float64)
        overdue = silence / np.where(pace == 0, np.nan, pace)
        added = pd.DataFrame(dict(zip(COLUMNS, (begin, end - begin, silence, overdue), strict=True)))
        return replace(rows, horizons=(1,), aggregates=pd.concat([rows.aggregates, added], axis=1))


def _event_days(data: Dataset) -> Floats:
    """[examples]: days from the cutoff to the next event, infinite where none is known to have come."""
    following = NextEvent.of(data)
    return np.where(following.ended == 1, following.days, np.inf)


def _contradicted(data: Dataset) -> float:
    """The share of the labels, among those whose horizon the histories cover, that say otherwise than the events."""
    assert data.labels is not None
    churn, ends = data.labels.churn, np.array(data.horizons, np.float64)
    until = _days(ends_of_knowledge(data)[data.sequences.history] - data.cutoff)
    covered = np.isfinite(churn) & (until[:, None] >= ends)
    silent = _event_days(data)[:, None] >= ends
    return float((silent != (churn == 1))[covered].mean()) if covered.any() else 1.0


def _days(microseconds: Integers) -> Floats:
    return microseconds / MICROSECONDS_A_DAY
