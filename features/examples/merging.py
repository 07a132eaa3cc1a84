"""Shards put together: one dataset of all their examples, in order of (cutoff, customer_id)."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Integers
from features.dataset import Coded, Dataset, EarlierLabels, Labels, Sequences
from features.examples.shard import ShardExamples, ShardSize
from features.sequences.flat import flat


def merged(sizes: Sequence[ShardSize], shards: Iterable[ShardExamples], horizons: tuple[int, ...]) -> Dataset:
    """The examples of all `shards`, whose customers ascend from shard to shard. They are taken one after the other and
    held no longer than it takes to copy them; long columns lie in files (`features.sequences.flat`).
    """
    order = np.argsort(np.concatenate([size.cutoff for size in sizes]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    room: _Room | None = None
    begin = 0
    for size, shard in zip(sizes, shards, strict=True):
        room = room or _Room(shard, sizes)
        room.put(shard, place[begin : begin + len(size.cutoff)])
        begin += len(size.cutoff)
    assert room is not None  # there is always a shard, if an empty one
    return room.dataset(horizons)


def together(shards: Sequence[ShardExamples], horizons: tuple[int, ...]) -> Dataset:
    """The same of shards in memory."""
    return merged([shard.size for shard in shards], shards, horizons)


class _Room:
    """The columns of a dataset, to be filled shard by shard."""

    def __init__(self, like: ShardExamples, sizes: Sequence[ShardSize]) -> None:
        examples, steps = sum(len(size.cutoff) for size in sizes), sum(size.steps for size in sizes)
        self.names = list(like.aggregates)
        self.values = flat((len(self.names), examples), np.float64)
        self.customer_id, self.cutoff = np.empty(examples, object), np.empty(examples, np.int64)
        self.history, self.length = np.empty(examples, np.int64), np.empty(examples, np.int64)
        self.lengths: list[Integers] = []
        self.event_time = flat(steps, np.int64)
        self.numeric = {name: flat(steps, np.float64) for name in like.sequences.numeric}
        self.codes = {name: flat(steps, np.int32) for name in like.sequences.categorical}
        self.known: dict[str, dict[str, int]] = {name: {} for name in self.codes}
        self.labels = Labels.blank(examples, like.labels) if like.labels else None
        self.earlier: list[EarlierLabels] = []
        self.steps = 0

    def put(self, shard: ShardExamples, rows: Integers) -> None:
        """`rows` are the places of the shard's examples."""
        sequences = shard.sequences
        self.customer_id[rows] = np.asarray(shard.customer_id.to_pylist(), dtype=object)
        self.cutoff[rows] = shard.cutoff
        for row, name in zip(self.values, self.names, strict=True):
            row[rows] = shard.aggregates[name]
        self.history[rows] = sequences.history + sum(map(len, self.lengths))
        self.length[rows] = sequences.length
        self.lengths.append(sequences.lengths)
        here = slice(self.steps, self.steps + len(sequences.event_time))
        self.steps = here.stop
        self.event_time[here] = sequences.event_time
        for name, values in sequences.numeric.items():
            self.numeric[name][here] = values
        for name, coded in sequences.categorical.items():
            self.codes[name][here] = _recoded(coded, self.known[name])
        if self.labels and shard.labels:
            self.labels.put(rows, shard.labels)
        if shard.earlier:
            self.earlier.append(EarlierLabels(shard.earlier.moment, rows[shard.earlier.example], shard.earlier.labels))

    def dataset(self, horizons: tuple[int, ...]) -> Dataset:
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(self.lengths))]).astype(np.int64)
        sequences = Sequences(
            offsets=offsets,
            event_time=self.event_time,
            numeric=self.numeric,
            categorical={name: _sorted(codes, self.known[name]) for name, codes in self.codes.items()},
            history=self.history,
            length=self.length,
        )
        aggregates = pd.DataFrame(self.values.T, columns=self.names, copy=False)
        earlier = EarlierLabels.concat(self.earlier) if self.earlier else None
        return Dataset(horizons, self.customer_id, self.cutoff, aggregates, sequences, self.labels, earlier)


def _recoded(coded: Coded, known: dict[str, int]) -> NDArray[np.int32]:
    """The codes of one shard as codes into `known`, which grows by its values."""
    codes, values = coded
    return np.array([*(known.setdefault(value, len(known)) for value in values), -1], np.int32)[codes]


def _sorted(codes: NDArray[np.int32], known: dict[str, int]) -> Coded:
    """Codes in the order in which values came as codes into the sorted values; in place."""
    values = sorted(known)
    rank = {value: number for number, value in enumerate(values)}
    np.take(np.array([*(rank[value] for value in known), -1], np.int32), codes, out=codes, mode="wrap")
    return codes, values
