"""A small world in an event store, so that each engine reads its Parquet object itself."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline.event_store.store import ORDER, AsOf, EventStore
from pipeline.runtime.engine import session
from tests.support.worlds.event_worlds import ATTRIBUTES, END


def stored(folder: Path, rows: pd.DataFrame) -> EventStore:
    """A store whose one night, END, holds the revisions that were known by then."""
    store = EventStore(folder, ATTRIBUTES)
    known = rows[rows["known_time"] <= pd.Timestamp(END)].sort_values(list(ORDER))
    store.write(END.date(), pa.Table.from_pandas(known, schema=store.schema, preserve_index=False))
    return store


def rows_of(events: AsOf) -> pd.DataFrame:
    """Every revision, in order of (event_id, known_time)."""
    with session(None) as connection:
        query = f"select * from ({events.in_duckdb}) order by event_id, known_time"
        return connection.sql(query).to_arrow_table().to_pandas()
