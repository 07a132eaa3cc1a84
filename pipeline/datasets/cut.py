"""Where events are cut into shards: at customers, after about so many events. The same on every engine."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

COLUMNS = (
    *("customer_id", "event_time", "known_time", "superseded_time", "deleted"),
    *("event_type", "amount", "quantity"),
)
"""What a shard holds of an event beside its attributes."""
EVENTS_A_SHARD, LEAST_EVENTS_A_SHARD = 2_000_000, 250_000
FEWEST_SHARDS = 4  # as far as they are not too small: two are worked on at once


def first_customers(query: Callable[[str], pa.Table], relation: str, events_a_shard: int | None) -> list[str]:
    """The first customers of every shard of the events in `relation` but the very first shard, which begins with
    whoever comes first. `query` is the engine's, and `events_a_shard` None as fits.
    """
    total = query(f"select count(*) as events from {relation}")["events"][0].as_py()
    size = events_a_shard or max(min(total // FEWEST_SHARDS, EVENTS_A_SHARD), LEAST_EVENTS_A_SHARD)
    if total <= size:
        return []
    counted = query(f"select customer_id, count(*) as events from {relation} group by 1 order by 1")
    shard = np.cumsum(counted["events"].to_numpy()) // size
    starts = np.flatnonzero(np.diff(shard, prepend=shard[:1]))
    return list(counted["customer_id"].take(starts).to_pylist())
