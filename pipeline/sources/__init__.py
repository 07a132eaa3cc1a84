"""Sources of events: which one the configuration names, and the nights that it can give."""

from datetime import datetime, timedelta

from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.nights import midnight
from pipeline.sources.contract import Source

__all__ = ["Source", "first_night", "last_closed", "open_source"]


def open_source(settings: Settings) -> Source:
    """The source that `[source]` describes. Raises RecurError where it cannot be read, ConfigurationError where a
    column that the configuration names is not in it.
    """
    if settings.source.kind == "complete_journey":
        from pipeline.sources.complete_journey import CompleteJourney

        return CompleteJourney(settings)
    if settings.source.kind == "cdnow":
        from pipeline.sources.cdnow import Cdnow

        return Cdnow(settings)
    if settings.source.kind == "sql":
        from pipeline.sources.sql import Sql

        return Sql(settings)
    from pipeline.sources.files import Files

    return Files(settings)


def last_closed(settings: Settings) -> datetime:
    """The end of the source's last closed day: the last cutoff whose history is complete."""
    return open_source(settings).span()[1]


def first_night(settings: Settings) -> datetime:
    """The first cutoff: `run.first_night`, else the last closed day's end less the primary horizon and the gap. Raises
    ConfigurationError where the source holds no history before it, or ends before it.
    """
    first_event, closed = open_source(settings).span()
    if settings.run.first_night is not None:
        night = midnight(settings.run.first_night)
        if night > closed:
            raise ConfigurationError(
                f"run.first_night is {night.date()}, but the source's last closed day ends at {closed.date()}: "
                "choose an earlier first night"
            )
    else:
        night = closed - timedelta(days=settings.question.reach)
    if night <= first_event:
        raise ConfigurationError(
            f"the first night would be {night.date()}, but the source's events run from {first_event.date()} to "
            f"{closed.date()}: set run.first_night to a later day, or ask for a shorter question.primary_horizon"
        )
    return night
