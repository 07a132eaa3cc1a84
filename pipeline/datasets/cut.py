"""Where events are cut into shards: at customers, after about so many events. The same on every engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

COLUMNS = (
    *("customer_id", "event_time", "known_time", "superseded_time", "deleted"),
    *("event_type", "amount", "quantity"),
)
"""What a shard holds of an event beside its attributes."""
EVENTS_A_SHARD, LEAST_EVENTS_A_SHARD = 2_000_000, 250_000
FEWEST_SHARDS = 4  # as far as they are not too small: two are worked on at once


@dataclass(frozen=True)
class Cut:
    """`firsts` are the first customers of every shard but the very first, which begins with whoever comes first."""

    firsts: list[str]

    @classmethod
    def of(cls, total: int, customers: Callable[[], pa.Table], events_a_shard: int | None = None) -> Self:
        """`total` is the number of events; `customers` gives `customer_id, events` in order, where more than one shard
        is needed.
        """
        size = events_a_shard or max(min(total // FEWEST_SHARDS, EVENTS_A_SHARD), LEAST_EVENTS_A_SHARD)
        if total <= size:
            return cls([])
        counted = customers()
        shard = np.cumsum(counted["events"].to_numpy()) // size
        starts = np.flatnonzero(np.diff(shard, prepend=shard[:1]))
        return cls(counted["customer_id"].take(starts).to_pylist())

    @property
    def bounds(self) -> list[tuple[str | None, str | None]]:
        """Of each shard the first customer, and the first of the next; None is no bound."""
        return list(zip([None, *self.firsts], [*self.firsts, None], strict=True))
