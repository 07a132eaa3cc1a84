"""Erases one customer from everything that recur keeps. The source is not recur's: what it still holds of the customer
comes back with the next night that holds it.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.paths import atomically
from pipeline.record import recorded
from pipeline.settings import Settings


def forget(settings: Settings, customer_id: str) -> dict[str, int]:
    """Removes `customer_id` and returns how many rows went, by place: `events`, `staged`, `accepted`, `quarantine`,
    `source`, `pulled`, `scored`, `carried`, `snapshots`, `predictions`, `published` (the predictions as Parquet).
    Quarantined lines that could not be taken apart go where they contain the customer's id. Doing it again removes
    nothing.
    """
    from pipeline import snapshot
    from pipeline.carried import erasure
    from pipeline.serving import exports
    from pipeline.serving.database import erase

    with recorded(settings, "forget", None):
        folders = {
            "events": settings.events,
            "staged": settings.var / "staged",
            "accepted": settings.var / "accepted",
            "quarantine": settings.var / "quarantine",
            "source": settings.var / "source",
            "pulled": settings.var / "pulled",
            "scored": settings.var / "scored",
        }
        removed = {
            place: sum(_erase_from(file, customer_id) for file in sorted(folder.glob("**/*.parquet")))
            for place, folder in folders.items()
        }
        removed["carried"] = erasure.erase(settings, customer_id)  # once the events are gone
        removed["snapshots"] = snapshot.erase(settings, customer_id)
        removed["predictions"] = erase(settings, customer_id)
        removed["published"] = exports.erase(settings, customer_id)
        return removed


def _erase_from(path: Path, customer_id: str) -> int:
    """Rewrites one file without the customer, a row group at a time, if it holds any row of theirs."""
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        removed = sum(_concerned(file.read_row_group(group), customer_id).count(True) for group in groups)
        if removed:
            schema, codec = file.schema_arrow, file.metadata.row_group(0).column(0).compression
            with atomically(path) as temporary, pq.ParquetWriter(temporary, schema, compression=codec) as writer:
                for group in groups:
                    table = file.read_row_group(group)
                    writer.write_table(table.filter(pa.array([not it for it in _concerned(table, customer_id)])))
    return removed


def _concerned(table: pa.Table, customer_id: str) -> list[bool]:
    """For each row, whether it is about the customer."""
    if "row" in table.schema.names and table.schema.field("row").type == pa.string():  # a quarantined row, as JSON
        return [_names(json.loads(row), customer_id) for row in table["row"].to_pylist()]
    same = pc.equal(pc.utf8_trim_whitespace(table["customer_id"]), customer_id)
    named: list[bool] = same.fill_null(False).to_pylist()
    if "unreadable" not in table.schema.names:
        return named
    lines = pc.match_substring(table["unreadable"], customer_id).fill_null(False).to_pylist()
    return [own or line for own, line in zip(named, lines, strict=True)]


def _names(row: dict[str, str | None], customer_id: str) -> bool:
    return (row.get("customer_id") or "").strip() == customer_id or customer_id in (row.get("unreadable") or "")
