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


def to_sequences(shared: pa.Table, own: pa.Table, examples: pa.Table, attributes: Mapping[str, str]) -> Sequences:
    """The arrays of `Sequences`.

    `shared` holds the shared histories' events in `ORDER`; `own` those of the examples that share none, ordered by
    cutoff and then `ORDER`; `examples` has `customer_id, cutoff, length, shares` in the order of the dataset.
    """
    customers, starts = _runs(shared, ("customer_id",))
    own_starts = _runs(own, ("cutoff", "customer_id"))[1]
    offsets = np.concatenate([starts, shared.num_rows + own_starts, [shared.num_rows + own.num_rows]]).astype(np.int64)
    history = pc.index_in(examples["customer_id"], customers).to_numpy(zero_copy_only=False).astype(np.float64)
    shares = examples["shares"].to_numpy(zero_copy_only=False).astype(bool)
    # Both are in order of (cutoff, customer_id), so the examples without a share meet their own histories in turn.
    history[~shares] = len(starts) + np.arange(len(own_starts))
    columns = ["event_time", "event_type", "amount", "quantity", *attributes]
    steps = pa.concat_tables([shared.select(columns), own.select(columns)])
    numeric = ["amount", "quantity", *(name for name, kind in attributes.items() if kind == "numeric")]
    categorical = ["event_type", *(name for name, kind in attributes.items() if kind == "categorical")]
    return Sequences(
        offsets=offsets,
        event_time=_microseconds(steps["event_time"]),
        numeric={name: pc.fill_null(steps[name], np.nan).to_numpy().astype(np.float64) for name in numeric},
        categorical={name: _codes(steps[name]) for name in categorical},
        history=history.astype(np.int64),
        length=examples["length"].to_numpy().astype(np.int64),
    )


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
