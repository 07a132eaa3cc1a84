"""Erases one customer from everything that recur keeps. The source is not recur's: what it still holds of the customer
stays out, since the suppression list names them by a keyed digest, until they are readmitted.
"""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import pipeline.event_store.erasure
import pipeline.scoring.erasure
import pipeline.training.erasure
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import ALONE, recorded
from pipeline.runtime.errors import RecurError
from pipeline.runtime.parquet import remove_rows
from pipeline.runtime.paths import StateFolder, sweep_below
from pipeline.runtime.suppression import Suppression
from pipeline.serving import exports
from pipeline.serving.database import open_predictions
from pipeline.serving.pages.copy import erase_from_copy
from pipeline.sources.columns.ids import read_id
from pipeline.sources.contents import sweep_all

LOCKS = ("night", "source", "pull")
LEAST_ID = 4  # characters of an id that a line of a log can be said to name


def forget(settings: Settings, customer_id: str) -> dict[str, int]:
    """Removes `customer_id` and returns how many rows went, by place. Quarantined lines that could not be taken apart
    go where they contain the customer's id. `pipeline_runs` keeps that it was done and of how many rows, not of whom.
    Doing it again removes nothing; after a kill, doing it again removes what is left. It waits for the steps at work,
    and they for it. Whoever was nowhere is not put on the suppression list.
    """
    customer_id = read_id(customer_id, settings.source)
    predictions, state = open_predictions(settings.predictions, settings.root), settings.state
    with recorded(predictions, state, ALONE, None) as figures, ExitStack() as locks:
        for lock in LOCKS:
            locks.enter_context(state.alone(lock))
        suppression = Suppression(state)
        is_new = suppression.add(customer_id)
        for folder in {settings.var, settings.events}:
            sweep_below(folder)
        sweep_all(state)
        removed = {place: erase(customer_id) for place, erase in _erasers(settings).items()}
        if is_new and not any(removed.values()):
            suppression.remove(customer_id)
        figures["message"] = f"{sum(removed.values())} rows of one customer erased"
        return removed


def readmit(state: StateFolder, customer_id: str) -> None:
    """From now on the source's rows of a forgotten customer are taken again. Raises RecurError where nobody of that id
    was forgotten.
    """
    with state.writing(alone=True):
        if not Suppression(state).remove(customer_id):
            raise RecurError(f"customer {customer_id} is not on the suppression list: check the id")


def _erasers(settings: Settings) -> dict[str, Callable[[str], int]]:
    """Every place that holds something of a customer, in the way of the data, with the function that erases a customer
    from it and returns how many rows went. A new place that keeps something of customers is a line here.
    """
    store = open_store(settings)

    def files(folder: str | Path, pattern: str = "**/*.parquet") -> Callable[[str], int]:
        folder = settings.var / folder
        return lambda customer_id: sum(
            remove_rows(file, partial(_is_about, customer_id=customer_id)) for file in sorted(folder.glob(pattern))
        )

    def logs(customer_id: str) -> int:
        if len(customer_id) < LEAST_ID:
            return 0
        named = re.compile(rb"(?<!\w)" + re.escape(customer_id.encode()) + rb"(?!\w)")
        lines = [_erase_from_log(file, named) for file in sorted(settings.state.logs.rglob("*")) if file.is_file()]
        return sum(lines)

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
        "pages": partial(erase_from_copy, settings.state),
        "published": files(settings.published, f"score_date=*/{exports.FILE}") if settings.published else lambda _: 0,
        "logs": logs,
    }


def _erase_from_log(file: Path, named: re.Pattern[bytes]) -> int:
    """Removes the lines that name the customer from a log that a service may be writing to."""
    with file.open("r+b") as log:
        lines = log.readlines()
        kept = [line for line in lines if not named.search(line)]
        if len(kept) < len(lines):
            log.seek(0)
            log.writelines(kept)
            log.truncate()
    return len(lines) - len(kept)


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
