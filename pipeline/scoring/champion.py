"""The champion, and whether it may score a cutoff."""

from datetime import datetime

from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.serving.database import PredictionsStore
from pipeline.training.registry import Registry, Version
from pipeline.training.tracking import without_password


def champion_or_none(registry: Registry, predictions: PredictionsStore) -> Version | None:
    """The champion; None before the first. Raises RecurError where there is none although nights were published."""
    champion = registry.champion()
    if champion is None and (published := predictions.last_published()):
        day, name, number = published
        raise RecurError(
            f"MLflow at {without_password(registry.tracking.address)} knows no champion, although version {number} "
            f"({name}) scored the night {day}: its database is lost or another one; put it back from a backup, promote "
            "a version that it has with `recur promote`, or train a new one with `recur train --cutoff DATE`, as of a "
            "day that was not trained on yet"
        )
    return champion


def guarded_champion(registry: Registry, predictions: PredictionsStore, cutoff: datetime) -> Version:
    """The champion, if it may score `cutoff`. Raises NothingToDo where there is none yet, and RecurError where it is
    lost, its training knew anything past `cutoff`, or it answers another question.
    """
    champion, question = champion_or_none(registry, predictions), registry.question
    if champion is None:
        raise NothingToDo(f"there is no champion yet to score {cutoff.date()}: it comes with the first training")
    if champion.question_digest != question.digest:
        what = f"answers question {champion.question_digest}, and [question] asks {question.digest}: run `recur train`"
        if champion.question_digest == question.model_copy(update={"treatments": ()}).digest:  # until December 2026
            what = (
                f"learned from labels in which a treatment ({', '.join(question.treatments)}) counts as coming back: "
                "run `recur train`, or set question.treatments = [] to keep that definition"
            )
        raise RecurError(f"the champion, {champion.label}, {what}")
    if champion.trained_until > cutoff:
        raise RecurError(
            f"the champion, {champion.label}, knows what happened after {cutoff.date()} and may not score it: "
            "promote an earlier version with `recur promote VERSION`, or go back with `recur rollback`"
        )
    return champion
