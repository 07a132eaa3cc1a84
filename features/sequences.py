"""The sequences view: every history stored once, and an example as a pointer into it. Ibis expressions and arrays.

An example shares its customer's history with all the others as long as what was visible at its cutoff is a beginning of
that history. A late or corrected event breaks this for the cutoffs before it was known; those examples, and only those,
get a history of their own.
"""

from collections.abc import Mapping
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dataset import Sequences

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


class Histories:
    """Gathers histories, part by part, into the arrays of `Sequences`.

    Each part is a table of events in order, whose runs of equal `keys` are histories.
    """

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.customers: list[pa.Array] = []
        self._lengths: list[np.ndarray] = []
        self._time: list[np.ndarray] = []
        numeric = ["amount", "quantity", *(name for name, kind in attributes.items() if kind == "numeric")]
        categorical = ["event_type", *(name for name, kind in attributes.items() if kind == "categorical")]
        self._numeric: dict[str, list[np.ndarray]] = {name: [] for name in numeric}
        self._categorical: dict[str, list[tuple[np.ndarray, list[str]]]] = {name: [] for name in categorical}

    @property
    def columns(self) -> list[str]:
        """The columns of an event that are kept, apart from its customer."""
        return ["event_time", *self._numeric, *self._categorical]

    def add(self, events: pa.Table, keys: tuple[str, ...]) -> pa.Array:
        """Appends a part; returns the last key of each of its histories."""
        customers, starts = _runs(events, keys)
        self._lengths.append(np.diff(starts, append=events.num_rows))
        self._time.append(_microseconds(events["event_time"]))
        for name, values in self._numeric.items():
            values.append(pc.fill_null(events[name], np.nan).to_numpy().astype(np.float64))
        for name, parts in self._categorical.items():
            parts.append(_codes(events[name]))
        self.customers.append(customers)
        return customers

    def sequences(self, history: np.ndarray, length: np.ndarray) -> Sequences:
        """All parts together, and each example's pointer: its history and how many of its events it sees."""
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        return Sequences(
            offsets=np.cumsum(lengths, dtype=np.int64),
            event_time=_joined(self._time),
            numeric={name: _joined(parts) for name, parts in self._numeric.items()},
            categorical={name: _one_code(parts) for name, parts in self._categorical.items()},
            history=history,
            length=length,
        )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """The parts end to end; they are let go, since both at once would be twice the memory."""
    whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
    parts.clear()
    return whole


def _runs(table: pa.Table, keys: tuple[str, ...]) -> tuple[pa.Array, np.ndarray]:
    """The values of the last key at, and the positions of, the starts of the runs of equal keys."""
    if table.num_rows == 0:
        return pa.array([], table[keys[-1]].type), np.zeros(0, np.int64)
    changes = np.zeros(table.num_rows, bool)
    changes[0] = True
    for key in keys:
        column = table[key].combine_chunks()
        changes[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(changes)
    return table[keys[-1]].combine_chunks().take(starts), starts


def _microseconds(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Codes into the sorted list of values that occur; sorted, so that the same values have the same codes."""
    values = sorted(pc.unique(column.drop_null()).to_pylist())
    codes = pc.fill_null(pc.index_in(column, pa.array(values, column.type)), -1)
    return codes.to_numpy().astype(np.int32), values


def _one_code(parts: list[tuple[np.ndarray, list[str]]]) -> tuple[np.ndarray, list[str]]:
    """Codes of several parts, each into its own sorted values, as codes into the sorted values of all."""
    values = sorted({value for _, its_values in parts for value in its_values})
    place = {value: code for code, value in enumerate(values)}
    # The last place stands for null, whose code is -1.
    maps = [np.array([*(place[value] for value in its_values), -1], np.int32) for _, its_values in parts]
    return np.concatenate([its_map[codes] for its_map, (codes, _) in zip(maps, parts, strict=True)]), values
