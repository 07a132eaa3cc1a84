"""The first step of a night: its rows, as the source has them, into one staged file."""

import logging
from typing import Any

import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights, require_whole
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.described import described, is_whole
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import Night
from pipeline.runtime.suppression import Suppression
from pipeline.serving.database import open_predictions
from pipeline.sources.factory import open_source

log = logging.getLogger("recur.extract")
RESTATED = (
    "{} rows came again, late, for a customer and a time of which a loaded night has a row with other values. Without "
    "columns.event_id nothing says which event they restate, so each counts beside it, and a refunded order twice: map "
    "columns.event_id, and set paths.var to a new folder to load the source as it is now"
)
"""What is said of rows that may restate what is loaded."""


def extract(settings: Settings, night: Night, afresh: bool = False) -> dict[str, Any]:
    """Stages `night` and returns `rows_read` and, where rows came that may restate what is loaded, a `message` about
    them. Raises NothingToDo for a night past the source's last closed day, and for one whose days were loaded with a
    later night.

    A night that was loaded before is staged as it was then: its staged file, while that is kept (`run.keep_staged`),
    else what the source knew then; raises RecurError where the source cannot tell. With `afresh` it is staged as the
    source is today. Who was forgotten is left out.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "extract", night) as figures, settings.state.alone("night"):
        require_whole(settings.events, but=night.score_date)
        source, staged = open_source(settings), settings.state.staged(night)
        closed = source.span().closed
        if night.end > closed:
            raise NothingToDo(
                f"the source's last closed day ends at {closed.date()}: nothing to extract for the night {night.name}"
            )
        later = [loaded for loaded in loaded_nights(settings.events) if loaded >= night.score_date]
        if later and later[0] != night.score_date:
            raise NothingToDo(
                f"the night {night.name} was loaded as a part of the night {later[0]}: nothing to extract"
            )
        again, notes = bool(later) and not afresh, dict[str, str]()
        if again and staged.exists() and not is_whole(staged):
            log.warning("%s is damaged: the night is read from the source again", staged)
        if again and is_whole(staged):
            figures["rows_read"] = pq.read_metadata(staged).num_rows
        else:
            with described(staged.parent, staged.name) as file:
                figures["rows_read"] = source.extract(night, file, again)
                figures["rows_read"] -= Suppression(settings.state).remove_from(file)
            if not again and (rows := source.restated(night)):
                notes["message"] = figures["message"] = RESTATED.format(rows)
        return {"rows_read": figures["rows_read"], **notes}
