"""Steps that are visits: what a customer did in one session, or on one day, instead of every event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from features.arrays import Floats, Integers, Mask
from features.dataset import Coded, Sequences
from features.sequences.encoding import beginnings, frequent_values, longest_seen
from features.time import MICROSECONDS_A_DAY

Step = Literal["event", "session", "day"]
STEPS: tuple[Step, ...] = ("event", "session", "day")  # ever coarser
PAUSE = 30 * 60 * 1_000_000  # microseconds that end a session, as in web analytics
FEWER = 2  # times fewer steps, for which sessions are worth their loss of detail
MOST_COUNTED = 16  # values of an attribute
EVENTS = "events_a_visit"

Counted = Mapping[str, Sequence[str]]
"""Of each categorical attribute, the values whose events are counted in every visit."""


def visits(sequences: Sequences, step: Step, counted: Counted) -> Sequences:
    """The same histories with one step for each run of events with no pause of half an hour (`session`), or for each
    day in UTC (`day`). A session ends with its day, as every cutoff does: an example sees a visit whole or not at all.

    A visit's time is that of its last event, its numbers are the sums of theirs (null where all are null), beside which
    stand how many there were (EVENTS) and how many of each value that is `counted` (`ATTRIBUTE=VALUE`), and its
    categories are those of its last event.
    """
    if step == "event":
        return sequences
    time, offsets = sequences.event_time, sequences.offsets
    begins = _begins(sequences, step)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(time))[: len(first)] - 1
    visit = np.append(np.cumsum(begins) - 1, len(first))  # [steps + 1]: the visit of each, and what lies behind all
    before = visit[offsets]
    counts = {
        f"{name}={value}": _counts(sequences.categorical.get(name), value, first)
        for name, values in counted.items()
        for value in values
    }
    return replace(
        sequences,
        offsets=before,
        event_time=time[last],
        numeric={name: _sums(values, first) for name, values in sequences.numeric.items()}
        | {EVENTS: (last - first + 1).astype(np.float64)}
        | counts,
        categorical={name: (codes[last], values) for name, (codes, values) in sequences.categorical.items()},
        length=visit[sequences.last_step] - before[sequences.history] + 1,
    )


def fitting_step(sequences: Sequences) -> Step:
    """The kind of step for these histories: sessions where that at least halves the number of steps, else events. What
    no example sees does not count. Days are for trials to choose: they lose the order of what lies hours apart, and
    with it all of a signal that one event of many a day decides.
    """
    seen = beginnings(sequences.offsets, longest_seen(sequences))
    return "session" if int((_begins(sequences, "session") & seen).sum()) * FEWER <= int(seen.sum()) else "event"


def values_to_count(sequences: Sequences) -> Counted:
    """Of each attribute the most frequent values of the events that examples see."""
    return {name: values[:MOST_COUNTED] for name, values in frequent_values(sequences).items()}


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


def _counts(coded: Coded | None, value: str, first: Integers) -> Floats:
    """Of each of the runs that begin at `first`, the events that have this value."""
    if coded is None or value not in coded[1] or not len(first):
        return np.zeros(len(first))
    codes, values = coded
    return np.add.reduceat(codes == values.index(value), first, dtype=np.int64).astype(np.float64)
