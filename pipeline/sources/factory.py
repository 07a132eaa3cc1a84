"""The source that the configuration names, and the first night that it can give."""

from datetime import datetime, timedelta
from functools import partial

from features.question import Question
from pipeline.config.sections import Run
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.nights import midnight
from pipeline.sources.cdnow import Cdnow
from pipeline.sources.complete_journey import CompleteJourney
from pipeline.sources.contract import EventSource, Span
from pipeline.sources.files import Files
from pipeline.sources.inputs import inputs_of
from pipeline.sources.sql import Sql


def open_source(settings: Settings) -> EventSource:
    """The source that `[source]` describes. Raises RecurError where it cannot be read."""
    source, state = settings.source, settings.state
    if source.kind == "complete_journey":
        return CompleteJourney(settings.source_path, state)
    if source.kind == "cdnow":
        return Cdnow(settings.source_path, state)
    if source.kind == "sql":
        return Sql(source, state, settings.root, lambda: settings.source_address)
    return Files(source, state, partial(inputs_of, source, settings.source_files, settings.root))


def first_night(span: Span, run: Run, question: Question) -> datetime:
    """The first cutoff: `run.first_night`, else the last closed day's end less the primary horizon and the gap. Raises
    ConfigurationError where the source holds no history before it, or ends before it.
    """
    first_event, closed = span
    if run.first_night is not None:
        night = midnight(run.first_night)
        if night > closed:
            raise ConfigurationError(
                f"run.first_night is {night.date()}, but the source's last closed day ends at {closed.date()}: "
                "choose an earlier first night"
            )
    else:
        night = closed - timedelta(days=question.reach)
    if night <= first_event:
        raise ConfigurationError(
            f"the first night would be {night.date()}, but the source's events run from {first_event.date()} to "
            f"{closed.date()}: set run.first_night to a later day, or ask for a shorter question.primary_horizon"
        )
    return night
