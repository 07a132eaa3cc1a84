"""Erases one customer from the event store. Each object becomes the one that its night would have made without them."""

import shutil
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.event_store import id_index
from pipeline.event_store.objects import corrections, noted_values, scan, whole
from pipeline.event_store.revisions import in_order
from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import session
from pipeline.runtime.paths import StateFolder


def erase(store: EventStore, state: StateFolder, customer_id: str) -> int:
    """Removes the rows of `customer_id` and returns how many there were. This is the one way in which what was loaded
    changes; each object is replaced whole.
    """
    removed = 0
    for night in store.nights():
        customers = pq.read_table(whole(store.path(night)), columns=["customer_id"])["customer_id"]
        if rows := pc.sum(pc.equal(customers, customer_id)).as_py():
            _rewrite_without(store, state, night, customer_id)
            removed += int(rows)
    if removed:
        shutil.rmtree(id_index.folder(state), ignore_errors=True)  # made again from the remaining rows
    return removed


def _rewrite_without(store: EventStore, state: StateFolder, night: date, customer_id: str) -> None:
    remaining = corrections(store.path(night)) and _remaining_corrections(store, state, night, customer_id)
    with pq.ParquetFile(store.path(night)) as file:
        others = (batch.filter(pc.not_equal(batch["customer_id"], customer_id)) for batch in file.iter_batches())
        rows = pa.RecordBatchReader.from_batches(file.schema_arrow.remove_metadata(), others)
        store.write(night, rows, remaining, noted_values(store.path(night)))


def _remaining_corrections(store: EventStore, state: StateFolder, night: date, customer_id: str) -> int:
    """How many of the night's other rows still have an earlier row of their event id; earlier nights are done."""
    rows = f"""
        select event_id, known_time, deleted, true as is_new from {scan([store.path(night)])}
        where customer_id <> ?
    """
    if earlier := [store.path(loaded) for loaded in store.nights() if loaded < night]:
        rows += f" union all select event_id, known_time, deleted, false from {scan(earlier)}"
    revision = f"row_number() {in_order(tie='is_new')}"
    with session(state) as connection:
        query = (
            f"select count(*) from (select is_new, {revision} as revision from ({rows})) where is_new and revision > 1"
        )
        [(remaining,)] = connection.execute(query, [customer_id]).fetchall()
    return int(remaining)
