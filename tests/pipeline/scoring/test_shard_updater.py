"""One shard of carried state, updated by a night's events."""

from datetime import UTC, datetime

import pyarrow as pa

from features.question import Question
from features.time import microseconds
from pipeline.event_store.store import TIME
from pipeline.scoring.shard import StateShard
from pipeline.scoring.shard_updater import ShardUpdater


def day(number: int) -> datetime:
    return datetime(2020, 1, number, tzinfo=UTC)


def events(*rows: tuple[str, int]) -> pa.Table:
    """A purchase for each customer and day."""
    columns = {
        "event_id": pa.array([f"{customer}{number}" for customer, number in rows], pa.string()),
        "customer_id": pa.array([customer for customer, _ in rows], pa.string()),
        "event_time": pa.array([day(number) for _, number in rows], TIME),
        "event_type": pa.array(["purchase" for _ in rows], pa.string()),
        "amount": pa.array([1.0 for _ in rows]),
        "quantity": pa.array([1.0 for _ in rows]),
    }
    return pa.table(columns)


def test_a_recomputed_customer_keeps_no_time_of_an_event_that_was_deleted() -> None:
    updater = ShardUpdater(Question().spec({}), None, has_sums=True)
    shard = updater.advance(StateShard.empty(0, events()), events(("a", 1), ("a", 3), ("a", 5), ("b", 2)), day(6))
    shard = updater.advance(shard, events(("a", 1), ("a", 5)), day(7), pa.array(["a"]))
    assert shard.recent is not None
    assert shard.recent.customer.tolist() == [0, 0, 1]
    assert shard.recent.time.tolist() == [microseconds(day(number)) for number in (1, 5, 2)]
