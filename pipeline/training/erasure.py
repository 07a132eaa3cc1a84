"""Erases one customer from every snapshot, and from the predictions in it."""

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.datasets.dataset_files import erase_customer
from pipeline.runtime.paths import StateFolder, atomically


def erase(state: StateFolder, customer_id: str) -> int:
    """Removes `customer_id` and returns how many rows went."""
    removed = 0
    for folder in sorted(state.path.glob("snapshots/*/")):
        for file in [
            *folder.glob("predictions/*.parquet"),
            *folder.glob("contenders/*/*-*[0-9].parquet"),
            *folder.glob("test_predictions.parquet"),
        ]:
            table = pq.read_table(file)
            rest = table.filter(pc.not_equal(table["customer_id"], customer_id))
            if rest.num_rows < table.num_rows:
                removed += table.num_rows - rest.num_rows
                with atomically(file) as temporary:
                    pq.write_table(rest, temporary)
        removed += erase_customer(folder, customer_id)
    return removed
