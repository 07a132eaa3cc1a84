"""The first step of a night: its rows, as the source has them, into one staged file."""

from pipeline import paths
from pipeline.errors import NothingToDo
from pipeline.nights import Night
from pipeline.record import recorded
from pipeline.settings import Settings
from pipeline.sources import open_source
from pipeline.store.event_store import loaded_nights


def extract(settings: Settings, night: Night) -> dict[str, int]:
    """Stages `night` and returns `rows_read`. Raises NothingToDo for a night past the source's last closed day, and for
    one whose days were loaded with a later night.
    """
    with recorded(settings, "extract", night) as figures:
        source = open_source(settings)
        closed = source.span()[1]
        if night.end > closed:
            raise NothingToDo(
                f"the source's last closed day ends at {closed.date()}: nothing to extract for the night {night.name}"
            )
        later = [loaded for loaded in loaded_nights(settings) if loaded >= night.score_date]
        if later and later[0] != night.score_date:
            raise NothingToDo(
                f"the night {night.name} was loaded as a part of the night {later[0]}: nothing to extract"
            )
        with paths.atomically(paths.staged(settings, night)) as file:
            figures["rows_read"] = source.extract(night, file)
        return {"rows_read": figures["rows_read"]}
