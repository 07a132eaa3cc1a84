"""The time to the customer's next event, as a survival model learns it: from every event (each gap a label, the last
one censored where knowledge ends), and from a cutoff.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from features.dataset import Dataset, Sequences
from features.time import MICROSECONDS_A_DAY


@dataclass(frozen=True)
class Gaps:
    """Aligned with `Sequences.event_time`. A gap is known where the step lies before the end of knowledge of its
    history; `ended` says whether an event ended it (else it lasted at least `days`).
    """

    days: Floats  # [steps], NaN where not known
    ended: NDArray[np.float64]  # [steps], 1 ended, 0 censored, NaN where not known
    readable: Integers  # [histories]: how many steps of each history have a known gap

    @classmethod
    def of(cls, data: Dataset) -> "Gaps":
        """Gaps of the histories of `data`'s examples, seen up to the end of their latest observed label:
        `max(cutoff + horizon)` over the labels that are not NaN. Nothing at or after that instant is looked at, so what
        the labels may not know, the gaps do not know either.
        """
        sequences = data.sequences
        lengths = sequences.lengths
        time, until_of_step = sequences.event_time, np.repeat(ends_of_knowledge(data), lengths)
        following = np.append(time[1:], 0)
        last = sequences.offsets[1:][lengths > 0] - 1
        following[last] = np.iinfo(np.int64).max
        known = time < until_of_step
        ended = following < until_of_step
        days = (np.where(ended, following, until_of_step) - time) / MICROSECONDS_A_DAY
        readable = np.zeros(len(lengths), np.int64)
        np.add.at(readable, np.repeat(np.arange(len(lengths)), lengths), known)
        return cls(np.where(known, days, np.nan), np.where(known, ended.astype(np.float64), np.nan), readable)

    def of_altered(self, sequences: Sequences, altered: Sequences) -> "Gaps":
        """These gaps of the histories of `sequences` as those of `altered`: a history of its own for each example, in
        which what it sees may stand in another order or at other times. The gap after the last step is the real one;
        the others are as altered. A gap is known to the first example alone that sees the step: it is a label once.
        """
        order = np.lexsort((sequences.length, sequences.history))
        seen = np.zeros(len(order), np.int64)  # by [example]: what an earlier one of its history sees
        follows = np.flatnonzero(np.diff(sequences.history[order]) == 0) + 1
        seen[order[follows]] = sequences.length[order[follows - 1]]

        lengths, last = altered.lengths, altered.last_step
        from_end = np.repeat(altered.offsets[1:], lengths) - np.arange(lengths.sum())  # 1 at the last step
        new = from_end <= np.repeat(sequences.length - seen, lengths)
        days = np.diff(altered.event_time, append=0) / MICROSECONDS_A_DAY
        ended = np.ones(len(days))
        days[last], ended[last] = self.days[sequences.last_step], self.ended[sequences.last_step]
        return Gaps(np.where(new, days, np.nan), np.where(new, ended, np.nan), lengths)


@dataclass(frozen=True)
class NextEvent:
    """The time from each example's cutoff to its customer's next event, or to the end of knowledge where none came by
    then: what `Gaps` may know, and no more.
    """

    days: Floats  # [examples], NaN where nothing is known past the cutoff
    ended: Floats  # [examples], 1 an event came, 0 censored, NaN where nothing is known

    @classmethod
    def of(cls, data: Dataset) -> "NextEvent":
        """Of the examples of `data`, by the events in `[cutoff, end of knowledge)`."""
        sequences = data.sequences
        until = ends_of_knowledge(data)[sequences.history]
        following = sequences.last_step + 1
        there = sequences.length < sequences.lengths[sequences.history]
        time = np.full(len(data), np.iinfo(np.int64).max)
        time[there] = sequences.event_time[following[there]]
        known, ended = data.cutoff < until, time < until
        days = (np.where(ended, time, until) - data.cutoff) / MICROSECONDS_A_DAY
        return cls(np.where(known, days, np.nan), np.where(known, ended.astype(np.float64), np.nan))


def ends_of_knowledge(data: Dataset) -> Integers:
    """[histories]: the end of the latest observed label of all, for each history that an example points to. Where an
    example has no label although its horizon ends by then, its customer has none to learn from: the history is known up
    to the latest cutoff, and what came after, which would tell the label, is not. A history of an example's own holds
    what was visible at its cutoff and ends there, whatever came after: no later silence may be read from it.
    """
    sequences, labels = data.sequences, data.labels
    assert labels is not None
    observed = np.isfinite(labels.churn)
    ends = data.cutoff[:, None] + np.array(data.horizons, np.int64) * MICROSECONDS_A_DAY
    latest = ends[observed].max()
    until = np.full(len(sequences.lengths), -1, np.int64)
    until[sequences.history] = latest
    unlabelled = (ends <= latest).any(axis=1) & ~observed.any(axis=1)
    until[sequences.history[unlabelled]] = min(latest, data.cutoff.max())
    whole = sequences.length == sequences.lengths[sequences.history]
    contradicted = whole & (np.where(observed, labels.churn, 1.0) == 0).any(axis=1)
    until[sequences.history[contradicted]] = data.cutoff[contradicted]
    return until
