"""A Parquet file less some of its rows."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.runtime.described import rewritten, whole

Mask: TypeAlias = pa.Array | pa.ChunkedArray


def remove_rows(path: Path, is_removed: Callable[[pa.Table], Mask]) -> int:
    """Rewrites one file without the rows that `is_removed` marks, a row group at a time, if there are any; gives how
    many there were. Raises DamagedError where the manifest of its folder describes another file.
    """
    whole(path.parent, path.name, "put it back from a backup, or remove it; `recur check --deep` says what that costs")
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        removed = sum(pc.sum(is_removed(file.read_row_group(group))).as_py() or 0 for group in groups)
        if removed:
            schema, codec = file.schema_arrow, file.metadata.row_group(0).column(0).compression
            with rewritten(path) as temporary, pq.ParquetWriter(temporary, schema, compression=codec) as writer:
                for group in groups:
                    table = file.read_row_group(group)
                    writer.write_table(table.filter(pc.invert(is_removed(table))))
    return int(removed)
