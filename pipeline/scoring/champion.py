"""The champion, and whether it may score a cutoff."""

from datetime import datetime

from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.training.registry import Registry, Version


def guarded_champion(registry: Registry, cutoff: datetime) -> Version:
    """The champion, if it may score `cutoff`. Raises NothingToDo where there is none, and RecurError where its training
    knew anything past `cutoff` or it answers another question.
    """
    champion, question = registry.champion(), registry.question
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
