"""Nights: the data intervals that the pipeline works through, and the one place where a run's cutoff is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pipeline.runtime.errors import ConfigurationError

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Night:
    """The data interval `[start, end)`, aware datetimes in UTC. `start` is None for the first night, which holds all
    history before its end. The cutoff is the end; the score date is the cutoff's date.
    """

    start: datetime | None
    end: datetime

    @property
    def cutoff(self) -> datetime:
        return self.end

    @property
    def score_date(self) -> date:
        return self.end.date()

    @property
    def name(self) -> str:
        """The name of everything that this night leaves behind: its score date, as in `2017-12-04`."""
        return self.score_date.isoformat()


def midnight(moment: date | datetime) -> datetime:
    """The midnight in UTC at which the day of `moment` begins (a naive moment is UTC)."""
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date()
    return datetime.combine(moment, time(), UTC)


def parse_cutoff(text: str) -> datetime:
    """`2017-12-04` or an ISO timestamp at midnight in UTC. Raises ConfigurationError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a date: write it as 2017-12-04") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment != midnight(moment):
        raise ConfigurationError(f"a cutoff is a midnight in UTC, and {text} is not: write it as 2017-12-04")
    return midnight(moment)


def resolve_cutoff(
    params: Mapping[str, Any],
    asset_extras: Sequence[Mapping[str, Any]],
    data_interval_end: datetime | None,
    data_interval_start: datetime | None,
    run_after: datetime,
) -> datetime:
    """The cutoff of an Airflow run: its parameter, else the latest asset event's extra, else the end of its data
    interval (if the interval has a length), else midnight UTC at or before `run_after`.
    """
    if params.get("cutoff"):
        return parse_cutoff(str(params["cutoff"]))
    extras = [str(extra["cutoff"]) for extra in asset_extras if extra.get("cutoff")]
    if extras:
        return max(parse_cutoff(extra) for extra in extras)
    if data_interval_end is not None and data_interval_end != data_interval_start:
        return midnight(data_interval_end)
    return midnight(run_after)
