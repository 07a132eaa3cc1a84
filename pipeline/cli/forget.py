"""Erases one customer from everything that recur keeps. The source is not recur's: what it still holds of the customer
comes back with the next night that holds it, or when a night is taken from it again.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import pipeline.event_store.erasure
import pipeline.scoring.erasure
import pipeline.training.erasure
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.paths import atomically, sweep_below
from pipeline.serving import exports
from pipeline.serving.database import open_predictions


def forget(settings: Settings, customer_id: str) -> dict[str, int]:
    """Removes `customer_id` and returns how many rows went, by place. Quarantined lines that could not be taken apart
    go where they contain the customer's id. `pipeline_runs` keeps that it was done and of how many rows, not of whom.
    Doing it again removes nothing; after a kill, doing it again removes what is left.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "forget", None) as figures, settings.state.alone("night"):
        for folder in {settings.var, settings.events}:
            sweep_below(folder)
        removed = {place: erase(customer_id) for place, erase in _erasers(settings).items()}
        figures["message"] = f"{sum(removed.values())} rows of one customer erased"
        return removed


def _erasers(settings: Settings) -> dict[str, Callable[[str], int]]:
    """Every place that holds something of a customer, in the way of the data, with the function that erases a customer
    from it and returns how many rows went. A new place that keeps something of customers is a line here.
    """
    store = open_store(settings)

    def files(folder: str | Path, pattern: str = "**/*.parquet") -> Callable[[str], int]:
        folder = settings.var / folder
        return lambda customer_id: sum(_erase_from(file, customer_id) for file in sorted(folder.glob(pattern)))

    return {
        "source": files("source"),
        "pulled": files("pulled"),
        "staged": files("staged"),
        "accepted": files("accepted"),
        "quarantine": files("quarantine"),
        "events": partial(pipeline.event_store.erasure.erase, store, settings.state),
        "scored": files("scored"),
        "carried": partial(pipeline.scoring.erasure.erase, store, settings.state),  # once the events are gone
        "snapshots": partial(pipeline.training.erasure.erase, settings.state),
        "predictions": open_predictions(settings.predictions, settings.root).erase,
        "published": files(settings.published, f"score_date=*/{exports.FILE}") if settings.published else lambda _: 0,
    }


def _erase_from(path: Path, customer_id: str) -> int:
    """Rewrites one file without the customer, a row group at a time, if it holds any row of theirs."""
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        removed = sum(pc.sum(_is_about(file.read_row_group(group), customer_id)).as_py() or 0 for group in groups)
        if removed:
            schema, codec = file.schema_arrow, file.metadata.row_group(0).column(0).compression
            with atomically(path) as temporary, pq.ParquetWriter(temporary, schema, compression=codec) as writer:
                for group in groups:
                    table = file.read_row_group(group)
                    writer.write_table(table.filter(pc.invert(_is_about(table, customer_id))))
    return int(removed)


def _is_about(table: pa.Table, customer_id: str) -> pa.ChunkedArray | pa.Array:
    """For each row of `table`, whether it is about the customer."""
    if "row" in table.schema.names and table.schema.field("row").type == pa.string():  # a quarantined row, as JSON
        return pa.array([_names(json.loads(row), customer_id) for row in table["row"].to_pylist()], pa.bool_())
    by_id = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(table["customer_id"]), customer_id), False)
    if "unreadable" not in table.schema.names:
        return by_id
    return pc.or_(by_id, pc.fill_null(pc.match_substring(table["unreadable"], customer_id), False))


def _names(row: dict[str, str | None], customer_id: str) -> bool:
    return (row.get("customer_id") or "").strip() == customer_id or customer_id in (row.get("unreadable") or "")
