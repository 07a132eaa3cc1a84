"""The revisions of some customers' events, and what of them could be seen when.

A revision is visible at a moment if its event time is before it, it was known by then, and nothing had replaced or
deleted it by then. The engine says of every revision when it was replaced (`superseded_time`), since a correction may
move an event to another customer; all else follows from the sorted columns of one customer.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.sums import microseconds_of
from features.arrays import Integers, Mask
from features.roles import is_excluded
from features.sequences.histories import starts_of_runs
from features.spec import FeatureSpec

ORDER = ("customer_id", "event_time", "event_id", "known_time")
NOT_SUPERSEDED = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Revisions:
    """`table` is in the order of `ORDER`, without what the question excludes; times are in microseconds. `customer`
    [revisions] counts its customers from 0.
    """

    table: pa.Table
    customers: pa.Array
    customer: Integers
    time: Integers
    known: Integers
    superseded: Integers  # NOT_SUPERSEDED where it is the last
    deleted: Mask

    @classmethod
    def of(cls, table: pa.Table, spec: FeatureSpec) -> Self:
        """From the columns of an event, and `superseded_time`."""
        if spec.excluded:
            table = table.filter(pa.array(~is_excluded(table, spec)))
        starts = starts_of_runs(table, "customer_id")
        return cls(
            table=table,
            customers=table["customer_id"].combine_chunks().take(pa.array(starts)),
            customer=np.repeat(np.arange(len(starts)), np.diff(starts, append=len(table))),
            time=microseconds_of(table["event_time"]),
            known=microseconds_of(table["known_time"]),
            superseded=_or_never(table["superseded_time"]),
            deleted=np.asarray(table["deleted"].to_numpy(), bool),
        )

    @property
    def current(self) -> Mask:
        """[revisions]: whether it is the last of its event and deletes nothing."""
        return np.asarray((self.superseded == NOT_SUPERSEDED) & ~self.deleted)

    def visible(self, rows: Integers, moment: Integers | int) -> Mask:
        """[rows]: whether the revision counts at `moment`: the one definition of point-in-time reading."""
        before = (self.time[rows] < moment) & (self.known[rows] <= moment)
        return np.asarray(before & (self.superseded[rows] > moment) & ~self.deleted[rows])

    def contradicted(self, moments: Integers) -> tuple[Integers, Integers]:
        """The (customer, moment's position) pairs, in order of (moment, customer), at which what was visible is not
        simply every current event before the moment: an event before it was known, corrected or deleted only after it.
        `moments` ascend.
        """
        # Almost every event is known before the first moment after it: those are never looked at again.
        late = np.searchsorted(moments, self.time, "right") < np.searchsorted(moments, self.known, "left")
        odd = np.flatnonzero(~self.deleted & (late | (self.superseded != NOT_SUPERSEDED)))
        pairs, current, customers = [np.zeros(0, np.int64)], self.current, max(len(self.customers), 1)
        for number, moment in enumerate(moments.tolist()):
            differs = self.visible(odd, moment) != (current[odd] & (self.time[odd] < moment))
            pairs.append(number * customers + np.unique(self.customer[odd[differs]]))
        pair = np.concatenate(pairs)
        return pair % customers, pair // customers

    def seen(self, customer: Integers, moment: Integers) -> tuple[Integers, Integers]:
        """For each pair (a customer, a moment) the rows that it sees, one pair after the other, in order; and how many
        each sees.
        """
        begins, ends = (np.searchsorted(self.customer, customer, side) for side in ("left", "right"))
        sizes = ends - begins
        rows = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        pair = np.repeat(np.arange(len(customer)), sizes)
        visible = self.visible(rows, moment[pair])
        return rows[visible], np.bincount(pair[visible], minlength=len(customer))


def _or_never(column: pa.ChunkedArray) -> Integers:
    if column.null_count == len(column):
        return np.full(len(column), NOT_SUPERSEDED)
    return np.asarray(pc.fill_null(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), NOT_SUPERSEDED))
