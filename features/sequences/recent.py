"""The times of each customer's last events, which go on from night to night: the rhythm that reasons tell of, without a
look at what is past.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.arrays import Integers


@dataclass(frozen=True)
class Recent:
    """`time`, in microseconds since 1970 in UTC, of the last `kept` events of each customer, fewer where there were
    fewer, in order of (customer, time). `customer` is a position in a list of customers that is kept elsewhere.
    """

    customer: Integers
    time: Integers
    kept: int

    def last(self) -> Self:
        """The last `kept` of each customer."""
        ends = np.searchsorted(self.customer, self.customer, side="right")
        last = ends - np.arange(len(ends)) <= self.kept
        return self if last.all() else replace(self, customer=self.customer[last], time=self.time[last])

    def moved(self, to: Integers) -> Self:
        """The same with customer `c` in the place `to[c]`, and without those whose place is -1. The order stays."""
        places = to[self.customer]
        there = places >= 0
        return replace(self, customer=places[there], time=self.time[there])

    def with_more(self, customer: Integers, time: Integers) -> Self:
        """Those that follow, in order, for each customer after all that is here."""
        both = np.concatenate([self.customer, customer])
        order = np.argsort(both, kind="stable")
        return replace(self, customer=both[order], time=np.concatenate([self.time, time])[order]).last()

    def of(self, customers: Integers) -> tuple[Integers, Integers]:
        """Of `customers`, ascending: where each one's begin, [customers + 1], and the times, one after the other."""
        begins, ends = (np.searchsorted(self.customer, customers, side) for side in ("left", "right"))
        offsets = np.concatenate([[0], np.cumsum(ends - begins)])
        rows = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], ends - begins)
        return offsets, self.time[rows]
