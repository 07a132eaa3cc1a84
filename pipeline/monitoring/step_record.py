"""What every step leaves behind in `pipeline_runs`: when, how long, the outcome, peak memory, how many rows."""

import contextlib
import resource
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from pipeline.config.settings import Settings
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import Night
from pipeline.runtime.resources import disk_in_words

ROWS = ("rows_read", "rows_accepted", "rows_quarantined", "rows_already_known", "rows_scored", "rows_published")


@contextmanager
def recorded(settings: Settings, step: str, night: Night | date | None) -> Iterator[dict[str, Any]]:
    """Runs a step and writes one row about it, its failure included. The step fills the yielded dict: the keys of
    `ROWS` become columns, `message` goes with them, others are the step's own. Raises RecurError, before the step does
    anything, where the predictions database cannot be reached, and where the disk is full or turned read-only.
    """
    from pipeline.serving.database import engine

    with disk_in_words(settings.state, f"{step} of the night {night.name}" if isinstance(night, Night) else step):
        engine(settings)
        figures: dict[str, Any] = {}
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            yield figures
        except NothingToDo as reason:
            _write(settings, step, night, started, time.monotonic() - clock, "skipped", str(reason), figures)
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):  # the step's own failure is the one to tell
                message = " ".join(str(error).split()) or type(error).__name__
                _write(settings, step, night, started, time.monotonic() - clock, "failed", message, figures)
            raise
        _write(settings, step, night, started, time.monotonic() - clock, "done", figures.get("message"), figures)


def record_job(
    settings: Settings,
    started_at: datetime,
    seconds: float,
    status: str = "done",
    message: str | None = None,
    score_date: date | None = None,
) -> None:
    """The main job as a whole, as the step `run`: its wall time, and the peak memory of its largest process."""
    _write(settings, "run", score_date, started_at, seconds, status, message, {})


def peak_memory() -> int:
    """Bytes: the most that this process, or the largest of its children that have ended, ever held in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _write(
    settings: Settings,
    step: str,
    night: Night | date | None,
    started_at: datetime,
    seconds: float,
    status: str,
    message: str | None,
    figures: Mapping[str, Any],
) -> None:
    from sqlalchemy import insert

    from pipeline.serving import database, tables

    day = night.score_date if isinstance(night, Night) else night.date() if isinstance(night, datetime) else night
    with database.writing(settings) as connection:
        connection.execute(
            insert(tables.step_run).values(
                run_id=uuid.uuid4().hex,
                step=step,
                score_date=day,
                started_at=started_at,
                seconds=seconds,
                status=status,
                message=message,
                peak_memory_bytes=peak_memory(),
                **{name: int(figures[name]) for name in ROWS if figures.get(name) is not None},
            )
        )
