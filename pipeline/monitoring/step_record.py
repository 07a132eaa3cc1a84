"""What every step leaves behind in `pipeline_runs`: when, how long, the outcome, peak memory, how many rows."""

import contextlib
import resource
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import insert, select

from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.resources import disk_in_words
from pipeline.serving import tables
from pipeline.serving.database import PredictionsStore

ROWS = ("rows_read", "rows_accepted", "rows_quarantined", "rows_already_known", "rows_scored", "rows_published")
ALONE = "forget"


@dataclass
class StepRun:
    """A row of `pipeline_runs`, from its start on."""

    step: str
    score_date: date | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)

    def write(
        self, predictions: PredictionsStore, status: str, message: str | None, figures: Mapping[str, Any] | None = None
    ) -> None:
        """Ends the run now. The keys of `ROWS` in `figures` become columns."""
        rows = {name: int(value) for name, value in (figures or {}).items() if name in ROWS and value is not None}
        with predictions.writing() as connection:
            connection.execute(
                insert(tables.step_run).values(
                    run_id=uuid.uuid4().hex,
                    step=self.step,
                    score_date=self.score_date,
                    started_at=self.started_at,
                    seconds=time.monotonic() - self.clock,
                    status=status,
                    message=message,
                    peak_memory_bytes=peak_memory(),
                    **rows,
                )
            )


@contextmanager
def recorded(
    predictions: PredictionsStore, state: StateFolder, step: str, night: Night | None
) -> Iterator[dict[str, Any]]:
    """Runs a step and writes one row about it, its failure included. The step fills the yielded dict: the keys of
    `ROWS` become columns, `message` goes with them, others are the step's own. Raises RecurError, before the step does
    anything, where the predictions database cannot be reached, and where the disk is full or turned read-only.
    """
    # Forgetting waits for every step at work, and every step for it, or one would write what it has just erased.
    with disk_in_words(state, f"{step} of the night {night.name}" if night else step), state.writing(step == ALONE):
        predictions.engine()
        figures: dict[str, Any] = {}
        run = StepRun(step, night.score_date if night else None)
        try:
            yield figures
        except NothingToDo as reason:
            run.write(predictions, "skipped", str(reason), figures)
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):  # the step's own failure is the one to report
                message = " ".join(str(error).split()) or type(error).__name__
                run.write(predictions, "failed", message, figures)
            raise
        run.write(predictions, "done", figures.get("message"), figures)


def last_message(predictions: PredictionsStore, step: str, day: date) -> str | None:
    """What the last run of a step that was done for the night `day` had to say, if anything."""
    run = tables.step_run.c
    query = select(run.message).where(run.step == step, run.score_date == day, run.status == "done")
    with predictions.reading() as connection:
        return connection.scalar(query.order_by(run.started_at.desc()).limit(1))


def peak_memory() -> int:
    """Bytes: the most that this process, or the largest of its children that have ended, ever held in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
