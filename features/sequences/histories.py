"""The sequences view: every history stored once, and an example as a pointer into it. Ibis expressions and arrays.

An example shares its customer's history with all the others as long as what was visible at its cutoff is a beginning of
that history. A late or corrected event breaks this for the cutoffs before it was known; those examples, and only those,
get a history of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.dataset import Floats, Integers, Sequences

ORDER = ("customer_id", "event_time", "event_id")


def with_positions(events: ir.Table, last_cutoff: datetime) -> ir.Table:
    """`events` and `position`: the place, from 1, of a revision in its customer's shared history; null if not in it.

    The shared history holds the events before `last_cutoff` as they are known when `events` was read.
    """
    shared = (
        events.superseded_time.isnull()
        & ~events.deleted
        & (events.event_time < ibis.literal(last_cutoff, "timestamp('UTC', 6)"))
    )
    order = ibis.window(
        group_by="customer_id", order_by=["event_time", "event_id", "known_time"], preceding=None, following=0
    )
    rank = shared.ifelse(1, 0).sum().over(order)
    return events.mutate(position=shared.ifelse(rank, ibis.null("int64")))


def pointers(history: ir.Table) -> ir.Table:
    """`customer_id, cutoff, length, shares`: how many events each example sees, and whether they are the first `length`
    of its customer's shared history. `history` is that of `examples.history`, with positions.
    """
    rows = history.group_by(["customer_id", "cutoff"]).aggregate(
        length=history.count(), in_shared=history.position.count(), reach=history.position.max()
    )
    shares = (rows.length == rows.in_shared) & (rows.length == rows.reach)
    return rows.select("customer_id", "cutoff", "length", shares=shares.fill_null(False))


@dataclass(frozen=True)
class Histories:
    """Histories as flat columns, one after the other, and whose they are."""

    owners: pa.Array  # [histories]
    lengths: Integers  # [histories]
    time: Integers  # [steps], microseconds since 1970 in UTC
    numeric: dict[str, Floats]  # name -> [steps]
    categorical: dict[str, tuple[NDArray[np.int32], list[str]]]  # name -> (codes [steps], values)

    @classmethod
    def of(cls, events: pa.Table, owners: pa.Array, starts: Integers, attributes: Mapping[str, str]) -> Self:
        """From events in order; `starts` are the positions where the histories of `owners` begin."""
        numeric = ["amount", "quantity", *(name for name, kind in attributes.items() if kind == "numeric")]
        categorical = ["event_type", *(name for name, kind in attributes.items() if kind == "categorical")]
        return cls(
            owners=owners,
            lengths=np.diff(starts, append=events.num_rows),
            time=_microseconds(events["event_time"]),
            numeric={name: pc.fill_null(events[name], np.nan).to_numpy().astype(np.float64) for name in numeric},
            categorical={name: _codes(events[name]) for name in categorical},
        )

    def only(self, histories: NDArray[np.bool_], steps: NDArray[np.bool_]) -> "Histories":
        """Those of `histories`, and of their steps those of `steps`, which keeps a beginning of each."""
        of_step = np.repeat(np.arange(len(self.lengths)), self.lengths)
        kept = steps & histories[of_step]
        return Histories(
            owners=self.owners.filter(pa.array(histories)),
            lengths=np.bincount(of_step[kept], minlength=len(self.lengths))[histories],
            time=self.time[kept],
            numeric={name: values[kept] for name, values in self.numeric.items()},
            categorical={name: _that_occur(codes[kept], values) for name, (codes, values) in self.categorical.items()},
        )

    def then(self, others: "Histories") -> "Histories":
        """These, and `others` after them."""
        return Histories(
            owners=pa.concat_arrays([self.owners, others.owners.cast(self.owners.type)]),
            lengths=np.concatenate([self.lengths, others.lengths]),
            time=np.concatenate([self.time, others.time]),
            numeric={name: np.concatenate([values, others.numeric[name]]) for name, values in self.numeric.items()},
            categorical={name: one_code([coded, others.categorical[name]]) for name, coded in self.categorical.items()},
        )

    def sequences(self, history: Integers, length: Integers) -> Sequences:
        """With each example's pointer: its history and how many of its events it sees."""
        return Sequences(
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths, dtype=np.int64)]),
            event_time=self.time,
            numeric=self.numeric,
            categorical=self.categorical,
            history=history,
            length=length,
        )


def histories_columns(attributes: Mapping[str, str]) -> list[str]:
    """The columns of an event that histories keep, apart from its customer."""
    return ["event_time", "amount", "quantity", "event_type", *attributes]


def starts_of_runs(events: pa.Table, keys: tuple[str, ...]) -> Integers:
    """The positions where one of `keys` differs from the event before, the first included."""
    changes = np.zeros(events.num_rows, bool)
    changes[:1] = True
    for key in keys:
        column = events[key].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.indices
        changes[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(changes)


def _microseconds(column: pa.ChunkedArray) -> Integers:
    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Codes into the sorted list of values that occur; sorted, so that the same values have the same codes."""
    if pa.types.is_dictionary(column.type):
        held = column.unify_dictionaries().combine_chunks()
        listed = held.dictionary.to_pylist()
        place = {value: code for code, value in enumerate(sorted(listed))}
        codes = np.array([*(place[value] for value in listed), -1], np.int32)  # the last stands for null
        return _that_occur(codes[pc.fill_null(held.indices, -1).to_numpy()], list(place))
    values = sorted(pc.unique(column.drop_null()).to_pylist())
    codes = pc.fill_null(pc.index_in(column, pa.array(values, column.type)), -1)
    return codes.to_numpy().astype(np.int32), values


def _that_occur(codes: NDArray[np.int32], values: list[str]) -> tuple[NDArray[np.int32], list[str]]:
    """The same codes into those of their values that occur."""
    there = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    if there.all():
        return codes, values
    place = np.append(np.cumsum(there) - 1, -1).astype(np.int32)
    return place[codes], [value for value, occurs in zip(values, there, strict=True) if occurs]


def one_code(parts: Sequence[tuple[NDArray[np.int32], list[str]]]) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of several parts, each into its own sorted values, as codes into the sorted values of all."""
    values = sorted({value for _, its_values in parts for value in its_values})
    place = {value: code for code, value in enumerate(values)}
    # The last place stands for null, whose code is -1.
    maps = [np.array([*(place[value] for value in its_values), -1], np.int32) for _, its_values in parts]
    return np.concatenate([its_map[codes] for its_map, (codes, _) in zip(maps, parts, strict=True)]), values
