"""The pages' copy of predictions that lie in PostgreSQL: Datasette, and what readers write there, know SQLite alone.

The process that serves the pages brings it up to date while it runs. The copy has all but the predictions of nights
long past, and lies in the state folder, where `recur forget` erases from it too.
"""

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Text, cast, delete, insert, select, text

from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.serving.bulk import append, read
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.serving.tables import metadata, night, prediction

VARIABLE = "RECUR_PAGES_COPY_OF"
"""The variable with the address that is copied: it may hold a password, and arguments can be seen by all."""
NIGHTS, SECONDS = 90, 15.0
_CHANGES = text(
    "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) from pg_stat_user_tables "
    "where schemaname = current_schema()"
)
_OF_A_NIGHT = text(
    "select count(*), sum(cast(churn_probability * 1e9 as bigint)), sum(cast(risk_change * 1e9 as bigint)) "
    "from prediction where score_date = :day"
)
log = logging.getLogger("recur")


def copy_of(state: StateFolder) -> PredictionsStore:
    """Where the copy lies."""
    return open_predictions(f"sqlite:///{state.path / 'datasette' / 'predictions.db'}", state.path)


def erase_from_copy(state: StateFolder, customer_id: str) -> int:
    """Removes the customer from the copy, where there is one; gives how many predictions went."""
    copy = copy_of(state)
    return copy.erase(customer_id) if copy.file.exists() else 0


class Copying:
    """Brings `copy` up to date with `source`, from where an earlier process left it."""

    def __init__(self, source: PredictionsStore, copy: PredictionsStore) -> None:
        self._source, self._copy = source, copy
        self._note = copy.file.with_suffix(".copied.json")
        self._changes: Any = None

    def refresh(self) -> bool:
        """Whether anything had changed. Readers of the copy see it as one change."""
        with self._source.reading() as source:
            changes = source.scalar(_CHANGES)
            if changes == self._changes:
                return False
            before, now = self._noted(), dict[str, list[Any]]()
            with self._copy.writing() as copy:
                for table in reversed(metadata.sorted_tables):
                    if table.name not in ("schema_version", "prediction"):
                        copy.execute(delete(table))
                for table in metadata.sorted_tables:
                    if table.name not in ("schema_version", "prediction"):
                        rows = [dict(row) for row in source.execute(select(table)).mappings()]
                        if rows:
                            copy.execute(insert(table), rows)
                newest = select(night.c.score_date).order_by(night.c.score_date.desc()).limit(NIGHTS)
                days = list(source.scalars(newest))
                copy.execute(delete(prediction).where(prediction.c.score_date.not_in(days)))
                for day in days:
                    now[day.isoformat()] = list(map(str, source.execute(_OF_A_NIGHT, {"day": day}).one()))
                    if now[day.isoformat()] != before.get(day.isoformat()):
                        self._note.unlink(missing_ok=True)  # until this is committed, nothing is known of the copy
                        copy.execute(delete(prediction).where(prediction.c.score_date == day))
                        append(copy, prediction, day, read(source, _rows_of_night(day)))
        with atomically(self._note) as file:
            file.write_text(json.dumps(now), "utf-8")
        self._changes = changes
        return True

    def _noted(self) -> dict[str, list[Any]]:
        """Of each night what was copied of it; nothing where that is not known."""
        try:
            return dict(json.loads(self._note.read_text("utf-8")))
        except (OSError, ValueError):
            return {}


def _rows_of_night(day: Any) -> Any:
    columns = [each if each.name != "curve" else cast(each, Text).label("curve") for each in prediction.columns]
    return select(*columns).where(prediction.c.score_date == day)


def keep_up_to_date(copy: Path) -> None:
    """Where the environment names what is copied into `copy`, refreshes it from now on, in a thread of its own."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    copying = Copying(open_predictions(address, copy.parent), open_predictions(f"sqlite:///{copy}", copy.parent))

    def work() -> None:
        pause = threading.Event()
        while not pause.wait(SECONDS):
            try:
                copying.refresh()
            except RecurError as error:  # the pages go on with what they have
                log.warning("the pages' copy is not up to date: %s", error)

    threading.Thread(target=work, daemon=True, name="copy of the predictions").start()
