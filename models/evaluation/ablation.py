"""Does time matter? Ablations of what a sequence model reads: without the order of the events, without the inter-event
times, or without all but the last few. A fitted model's damage says what it had learnt; one that is trained on
histories altered in the same way (`alteration`) says what was there to be learnt.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from features.arrays import Integers
from features.dataset import Dataset, Sequences
from models.base import Alteration

LAST = 10
ABLATIONS = {
    "order shuffled": "events and gaps of each history in random order; the first and the last moment stay",
    "gaps removed": "events evenly apart between the first and the last moment",
    f"last {LAST} events": f"only the last {LAST} events are read",
}


def with_own_histories(data: Dataset) -> Dataset:
    """The same examples, each with a history of its own that holds the steps it sees and no others; no labels."""
    sequences = data.sequences
    return replace(data, sequences=_steps(sequences, sequences.length), labels=None)


def ablations(data: Dataset, random_state: int) -> Iterator[tuple[str, Sequences]]:
    """Each name of `ABLATIONS` with the sequences to read in place of those of `data`, whose examples must have
    histories of their own (`with_own_histories`), one an example in their order.
    """
    for name in ABLATIONS:
        yield name, _ALTERED[name](data.sequences, np.random.default_rng(random_state))


def alteration(name: str | None, random_state: int) -> Alteration:
    """From examples to a history of its own for each, which holds nothing but what it sees, altered as `name` of
    `ABLATIONS` says: nothing that comes later, and so no label, moves what it reads. Without a name it is as it is: the
    control of what is trained on altered histories.
    """

    def altered(data: Dataset) -> Sequences:
        sequences = with_own_histories(data).sequences
        return _ALTERED[name](sequences, np.random.default_rng(random_state)) if name else sequences

    return altered


def _steps(sequences: Sequences, last: Integers) -> Sequences:
    """Of each example's visible steps the `last` ones, as a history of its own."""
    before = np.cumsum(last) - last
    steps = np.repeat(sequences.last_step + 1 - last - before, last) + np.arange(last.sum())
    return sequences.with_steps(steps, last).whole()


def _shuffled(sequences: Sequences, random: np.random.Generator) -> Sequences:
    history = np.repeat(np.arange(len(sequences.length)), sequences.length)
    order = np.lexsort((random.random(len(history)), history))
    inter_event = np.diff(sequences.event_time, prepend=0)
    first = sequences.offsets[:-1]
    later = np.ones(len(history), bool)
    later[first] = False
    positions = np.flatnonzero(later)
    inter_event[positions] = inter_event[positions[np.lexsort((random.random(len(positions)), history[positions]))]]
    inter_event[first] = 0
    run = np.cumsum(inter_event)
    time = np.repeat(sequences.event_time[first] - run[first], sequences.length) + run
    return replace(sequences.with_steps(order, sequences.length).whole(), event_time=time)


def _even(sequences: Sequences, _: np.random.Generator) -> Sequences:
    first, last = sequences.offsets[:-1], sequences.last_step
    span = sequences.event_time[last] - sequences.event_time[first]
    rank = np.arange(len(sequences.event_time)) - np.repeat(first, sequences.length)
    share = rank / np.repeat(np.maximum(sequences.length - 1, 1), sequences.length)
    moved = (np.repeat(span, sequences.length) * share).astype(np.int64)
    return replace(sequences, event_time=np.repeat(sequences.event_time[first], sequences.length) + moved)


def _cut(sequences: Sequences, _: np.random.Generator) -> Sequences:
    return _steps(sequences, np.minimum(sequences.length, LAST))


_ALTERED: dict[str, Callable[[Sequences, np.random.Generator], Sequences]] = dict(
    zip(ABLATIONS, (_shuffled, _even, _cut), strict=True)
)
