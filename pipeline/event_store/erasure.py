"""Erases one customer from the event store. Each object becomes the one that its night would have made without them."""

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.event_store import id_index as event_ids
from pipeline.event_store.revisions import in_order
from pipeline.event_store.store import EventStore, corrections, open_store
from pipeline.runtime.engine import literal, session


def erase(settings: Settings, customer_id: str) -> int:
    """Removes the rows of `customer_id` and returns how many there were. This is the one way in which what was loaded
    changes; each object is replaced whole.
    """
    store, removed = open_store(settings), 0
    for night in store.nights():
        rows = _rows_of(store.path(night), customer_id)
        if rows:
            _without(settings, store, night, customer_id)
            removed += rows
    if removed:
        shutil.rmtree(event_ids.folder_of(settings), ignore_errors=True)  # made again from what is left
    return removed


def _rows_of(file: Path, customer_id: str) -> int:
    there = pq.read_table(file, columns=["customer_id"])["customer_id"]
    return int(pc.sum(pc.equal(there, customer_id)).as_py() or 0)


def _without(settings: Settings, store: EventStore, night: date, customer_id: str) -> None:
    left = corrections(store.path(night)) and _corrections_left(settings, store, night, customer_id)
    with pq.ParquetFile(store.path(night)) as file:
        others = (batch.filter(pc.not_equal(batch["customer_id"], customer_id)) for batch in file.iter_batches())
        rows = pa.RecordBatchReader.from_batches(file.schema_arrow.remove_metadata(), others)
        store.write(night, rows, left)


def _corrections_left(settings: Settings, store: EventStore, night: date, customer_id: str) -> int:
    """How many of the night's other rows still have an earlier row of their event id; earlier nights are rid of the
    customer by now.
    """
    own = f"select event_id, known_time, deleted, true as is_new from read_parquet({literal(store.path(night))})"
    rows = f"{own} where customer_id <> ?"
    if earlier := [store.path(loaded) for loaded in store.nights() if loaded < night]:
        objects = ", ".join(literal(file) for file in earlier)
        rows += f" union all select event_id, known_time, deleted, false from read_parquet([{objects}])"
    place = f"row_number() {in_order(tie='is_new')}"
    with session(settings.state) as connection:
        query = f"select count(*) from (select is_new, {place} as place from ({rows})) where is_new and place > 1"
        [(left,)] = connection.execute(query, [customer_id]).fetchall()
    return int(left)
