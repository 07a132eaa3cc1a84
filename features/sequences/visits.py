"""Steps that are visits: what a customer did in one session, or on one day, instead of every event."""

from dataclasses import replace
from typing import Literal

import numpy as np

from features.arrays import Floats, Integers, Mask
from features.dataset import Sequences
from features.sequences.encoding import beginnings, longest_seen
from features.time import MICROSECONDS_A_DAY

Step = Literal["event", "session", "day"]
STEPS: tuple[Step, ...] = ("event", "session", "day")  # ever coarser
PAUSE = 30 * 60 * 1_000_000  # microseconds that end a session, as in web analytics
COARSER = 2  # times fewer steps, for which a coarser kind is worth its loss of detail
EVENTS = "events_a_visit"


def visits(sequences: Sequences, step: Step) -> Sequences:
    """The same histories with one step for each run of events with no pause of half an hour (`session`), or for each
    day in UTC (`day`). A session ends with its day, as every cutoff does: an example sees a visit whole or not at all.

    A visit's time is that of its last event, its numbers are the sums of theirs (null where all are null), beside which
    stands how many there were (EVENTS), and its categories are those of its last event.
    """
    if step == "event":
        return sequences
    time, offsets = sequences.event_time, sequences.offsets
    begins = _begins(sequences, step)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(time))[: len(first)] - 1
    visit = np.append(np.cumsum(begins) - 1, len(first))  # [steps + 1]: the visit of each, and what lies behind all
    before = visit[offsets]
    return replace(
        sequences,
        offsets=before,
        event_time=time[last],
        numeric={name: _sums(values, first) for name, values in sequences.numeric.items()}
        | {EVENTS: (last - first + 1).astype(np.float64)},
        categorical={name: (codes[last], values) for name, (codes, values) in sequences.categorical.items()},
        length=visit[sequences.last_step] - before[sequences.history] + 1,
    )


def fitting_step(sequences: Sequences) -> Step:
    """The kind of step for these histories: a coarser one wherever it at least halves the number of steps. What no
    example sees does not count.
    """
    seen = beginnings(sequences.offsets, longest_seen(sequences))
    chosen: Step = "event"
    steps = int(seen.sum())
    for coarser in STEPS[1:]:
        count = int((_begins(sequences, coarser) & seen).sum())
        if count * COARSER <= steps:
            chosen, steps = coarser, count
    return chosen


def _begins(sequences: Sequences, step: Step) -> Mask:
    """[steps]: whether a visit begins with the event."""
    time = sequences.event_time
    begins = np.diff(time // MICROSECONDS_A_DAY, prepend=-1) != 0
    if step == "session":
        begins |= np.diff(time, prepend=0) > PAUSE
    begins[sequences.offsets[:-1][sequences.lengths > 0]] = True
    return np.asarray(begins)


def _sums(values: Floats, first: Integers) -> Floats:
    """Over the runs that begin at `first`; NaN where all of a run are."""
    if not len(first):
        return values
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first)
    return np.where(np.add.reduceat(known, first, dtype=np.int64) > 0, sums, np.nan)
