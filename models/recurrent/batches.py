"""Batches of whole histories, each with all the cutoffs at which it is queried.

A history is read once, whatever the number of its examples: example `i` is no copy but the position of its last visible
step. Histories of like length share a batch and are padded on the right. Since a recurrent layer reads forwards only
and every position queried is a real step, padding lies after all that is ever read and can reach no score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import Integers
from features.dataset import Labels, Sequences
from features.sequences.encoding import EncodedSteps
from features.sequences.gaps import Gaps
from models.labels import HEADS

Floats32 = NDArray[np.float32]
LEAST_STEPS = 1_024  # of a training batch: a few short histories would teach noise, and slowly
LEAST_BATCHES = 16  # in a pass, if it takes smaller ones: fewer updates are too few to learn from
# When training batches are cut, a length counts as up to so many steps more, and up to this share more or less.
# Histories of one length are alike: a batch of nothing but first purchases pulls the weights to where only they are
# right.
MIXED_STEPS, MIXED = 16, 0.05


@dataclass(frozen=True)
class Chunks:
    """Chunks of histories to read, and the examples that query each: `order[first[c]:first[c + 1]]`."""

    order: Integers  # [examples], positions in the dataset
    first: Integers  # [chunks + 1], offsets into `order`
    start: Integers  # [chunks], the flat step at which reading begins
    length: Integers  # [chunks], steps to read: as far as the last example sees
    position: Integers  # [examples], in the dataset's order: steps between `start` and the example's last step

    def examples(self, batch: Integers) -> Integers:
        """The examples [batch, queries] that query each chunk of the batch; -1: none."""
        queries = self.first[batch + 1] - self.first[batch]
        slot = np.arange(queries.max())
        taken = slot < queries[:, None]
        return np.where(taken, self.order[np.where(taken, self.first[batch][:, None] + slot, 0)], -1)


def cut_chunks(sequences: Sequences, max_steps: int | None = None, readable: Integers | None = None) -> Chunks:
    """One chunk a history, from its first step. With `max_steps`, as when training, a longer history is read in chunks
    that overlap by half, and each example queries the first chunk that reaches it, so that it still sees at least
    `max_steps / 2` steps. Scoring gives no `max_steps`: no history is ever truncated.

    `readable` [histories] makes the last chunk of each history reach, within `max_steps`, past its last example, where
    there are inter-event times to learn from.
    """
    order = np.lexsort((sequences.length, sequences.history))
    history, length = sequences.history[order], sequences.length[order]
    skipped = np.zeros_like(length)
    if max_steps is not None:
        half = max(max_steps // 2, 1)
        skipped = np.maximum(-(-(length - max_steps) // half), 0) * half
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(history) != 0) | (np.diff(skipped) != 0)
    heads = np.flatnonzero(new)
    first = np.append(heads, len(order))
    position = np.empty_like(length)
    position[order] = length - 1 - skipped
    read = (length - skipped)[first[1:] - 1]
    if readable is not None:
        beyond = readable[history[heads]] - skipped[heads]
        beyond[:-1][np.diff(history[heads]) == 0] = 0
        read = np.maximum(read, beyond if max_steps is None else np.minimum(beyond, max_steps))
    start = sequences.offsets[history[heads]] + skipped[heads]
    return Chunks(order, first, start, length=read, position=position)


def cut_batches(
    length: Integers, batch_size: int, max_padded: int, random: np.random.Generator | None = None
) -> list[Integers]:
    """Batches of chunks of like `length` [chunks]: at most `batch_size` chunks and `max_padded` padded steps each (a
    single longer chunk is a batch of its own). With `random`, as when training, lengths are mixed and batches shuffled;
    and where `batch_size` chunks hold less than `LEAST_STEPS` steps, a batch is of as many more as it takes, as long as
    there are `LEAST_BATCHES`.
    """
    if random is None:
        queue = np.argsort(length, kind="stable")
    else:
        longer = length + random.uniform(0, MIXED_STEPS, len(length))
        queue = np.argsort(longer * random.uniform(1 - MIXED, 1 + MIXED, len(length)), kind="stable")
    lengths, batches, begin = length[queue], [], 0
    steps = np.append(0, np.cumsum(lengths))
    least = min(LEAST_STEPS, steps[-1] // LEAST_BATCHES)
    while begin < len(queue):
        most = batch_size
        if random is not None:
            most = max(most, int(np.searchsorted(steps, steps[begin] + least)) - begin)
        longest = np.maximum.accumulate(lengths[begin : begin + most])
        padded = longest * np.arange(1, len(longest) + 1)
        end = begin + max(int(np.searchsorted(padded, max_padded, side="right")), 1)
        batches.append(queue[begin:end])
        begin = end
    return batches if random is None else [batches[i] for i in random.permutation(len(batches))]


@dataclass(frozen=True)
class HistoryReader:
    """The `training.Reader` of histories: the one place where they are padded."""

    chunks: Chunks
    steps: EncodedSteps
    context: Floats32  # [examples, context channels]: what is known at the cutoff beside the history
    labels: Labels | None
    recency: Floats32  # [examples], days from the last event to the cutoff
    gaps: Gaps | None = None  # inter-event times that a survival head learns from, when training

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        """The arrays of one batch, and the examples `[batch, queries]` that its outputs belong to (-1: none).

        Arrays: `numeric` [batch, steps, channels], `categorical` [batch, steps, attributes], `length` [batch] of the
        real steps, `position` [batch, queries], `context` [batch, queries, channels], `recency` [batch, queries]; and
        when training each label [batch, queries, horizons], NaN where there is none, and `inter_event_days` and
        `event_observed` [real steps], one history after the other.
        """
        chunks = self.chunks
        length = chunks.length[batch]
        step = np.arange(length.max())
        real = step < length[:, None]
        flat = np.where(real, chunks.start[batch][:, None] + step, 0)
        example = chunks.examples(batch)
        taken = example >= 0
        arrays: dict[str, NDArray[Any]] = {
            "numeric": self.steps.numeric[flat] * real[..., None],
            "categorical": self.steps.categorical[flat] * real[..., None],
            "length": length.astype(np.int32),
            "position": np.where(taken, chunks.position[example], 0).astype(np.int32),
            "context": self.context[example],
            "recency": self.recency[example],
        }
        if self.gaps is not None:
            arrays["inter_event_days"] = self.gaps.days[flat[real]].astype(np.float32)
            arrays["event_observed"] = self.gaps.ended[flat[real]].astype(np.float32)
        if self.labels is not None:
            for name in HEADS:
                values = getattr(self.labels, name)[example].astype(np.float32)
                arrays[name] = np.where(taken[..., None], values, np.float32(np.nan))
        return arrays, example

    def cut(self, batch_size: int, max_padded: int, random: np.random.Generator | None = None) -> list[Integers]:
        return cut_batches(self.chunks.length, batch_size, max_padded, random)

    @property
    def examples(self) -> int:
        return len(self.chunks.order)
