"""Erases one customer from every snapshot, and from the predictions in it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.datasets.dataset_files import SHARDS, erase_customer, require_whole_dataset, way_back
from pipeline.runtime.described import require_whole
from pipeline.runtime.manifest import NAME
from pipeline.runtime.parquet import remove_rows
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.training.predictions import part_rows
from pipeline.training.snapshot import describe_snapshot


def erase(state: StateFolder, customer_id: str) -> int:
    """Removes `customer_id` and returns how many rows went."""
    removed = 0
    for folder in sorted(state.path.glob("snapshots/*/")):
        removed += _erase(folder, customer_id)
    return removed


def _erase(folder: Path, customer_id: str) -> int:
    """From one snapshot, which is verified first and described again afterwards. A kill between leaves one that is
    described by the next erasure. Raises DamagedError.
    """
    require_whole(folder, way_back(folder))
    require_whole_dataset(folder)
    for manifest in (folder / NAME, folder / SHARDS / NAME):
        manifest.unlink(missing_ok=True)
    pairs = [(file, folder / "altered" / file.name) for file in folder.glob("predictions/*.parquet")]
    for file in folder.glob("contenders/*/*.parquet"):
        if not file.name.endswith(".altered.parquet"):
            pairs.append((file, file.with_name(f"{file.stem}.altered.parquet")))
    removed = sum(_erase_pair(predictions, altered, customer_id) for predictions, altered in sorted(pairs))
    if (file := folder / "test_predictions.parquet").exists():
        removed += remove_rows(file, lambda table: _is_of(table, customer_id))
    removed += erase_customer(folder, customer_id)
    describe_snapshot(folder)
    return removed


def _erase_pair(predictions: Path, altered: Path, customer_id: str) -> int:
    """From a model's predictions, and from what it predicted of altered histories, whose rows are numbered by those of
    the test. The second is rewritten beside itself first, so that after a kill it is known what is left to do.
    """
    rewritten = altered.with_name(f".{altered.name}.erased")
    table = pq.read_table(predictions)
    if pc.any(_is_of(table, customer_id)).as_py():
        if altered.exists():
            pq.write_table(_without(pq.read_table(altered), table, customer_id), rewritten)
        removed = remove_rows(predictions, lambda rows: _is_of(rows, customer_id))
    else:
        removed = 0
    if rewritten.exists():
        with atomically(altered) as temporary:
            rewritten.replace(temporary)
    return removed


def _without(altered: pa.Table, predictions: pa.Table, customer_id: str) -> pa.Table:
    """`altered` less the rows of the customer's test examples, the others numbered by the test without them."""
    first = predictions.filter(pc.equal(predictions["seed"], predictions["seed"][0]))
    test = part_rows(first, "test", first["horizon_days"][0].as_py())
    window, row = altered["window"].to_numpy(), altered["row"].to_numpy()
    kept, numbered = np.ones(len(row), bool), row.copy()
    for number in np.unique(window):
        erased = np.asarray(_is_of(test.filter(pc.equal(test["window"], number)), customer_id), bool)
        here = window == number
        kept[here] = ~erased[row[here]]
        numbered[here] = row[here] - np.cumsum(erased)[row[here]]
    position = altered.column_names.index("row")
    return altered.set_column(position, "row", pa.array(numbered)).filter(pa.array(kept))


def _is_of(table: pa.Table, customer_id: str) -> pa.ChunkedArray:
    return pc.equal(table["customer_id"], customer_id)
