"""Whether a run can come to anything: a history to learn from, and in the end something trained or served."""

from sqlalchemy import select

from features.askable import shortened
from features.question import Question
from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.serving import tables
from pipeline.serving.database import open_predictions
from pipeline.sources.contract import Span
from pipeline.training.snapshot import finished_trainings


def require_something(settings: Settings) -> None:
    """Raises RecurError, with the reason, where nothing could be trained and nothing is served."""
    predictions = open_predictions(settings.predictions, settings.root)
    if predictions.published_nights() or finished_trainings(settings.state, settings.question.digest):
        return
    step = tables.step_run.c
    why = select(step.message).where(step.step == "snapshot", step.status == "skipped")
    with predictions.reading() as connection:
        reason = connection.scalar(why.order_by(step.started_at.desc()).limit(1))
    nights = len(loaded_nights(settings.events))
    reason = reason or "no training was tried"
    raise RecurError(f"{nights} nights are loaded, but nothing could be trained, and nothing is served: {reason}")


def require_askable(question: Question, span: Span) -> None:
    """Raises RecurError where the source as a whole is too short for a training, before any night is worked through."""
    first, closed = span
    if (since := question.askable_from(first)) <= closed:
        return
    shorter = shortened(question, first, closed)
    advice = "no shorter question can be asked of so few days"
    if shorter is not None:
        lengths = {name: getattr(shorter, name) for name in ("active_within", "cutoff_every", "gap")}
        changed = {name: days for name, days in lengths.items() if days != getattr(question, name)}
        keys = [f"horizons = {list(shorter.horizons)}", *(f"{name} = {days}" for name, days in changed.items())]
        advice = f"now it can be asked with {', '.join(keys)} under [question]"
    raise RecurError(
        f"the source's {(closed - first).days + 1} days, {first.date()} to {(closed - DAY).date()}, are too few to "
        f"learn who churns within {question.primary} days of those active within {question.active_within}: with daily "
        f"events that can be asked as of {since.date()}; {advice}"
    )
