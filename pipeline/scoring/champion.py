"""The champion, and whether it may score a cutoff."""

from datetime import datetime

from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.training.registry import Registry, Version


def guarded_champion(registry: Registry, cutoff: datetime) -> Version:
    """The champion, if it may score `cutoff`. Raises NothingToDo where there is none, and RecurError where its training
    knew anything past `cutoff` or it answers another question.
    """
    champion, digest = registry.champion(), registry.question.digest
    if champion is None:
        raise NothingToDo(f"there is no champion yet to score {cutoff.date()}: it comes with the first training")
    if champion.question_digest != digest:
        raise RecurError(
            f"the champion, {champion.label}, answers question {champion.question_digest}, and [question] asks "
            f"{digest}: run `recur train`"
        )
    if champion.trained_until > cutoff:
        raise RecurError(
            f"the champion, {champion.label}, knows what happened after {cutoff.date()} and may not score it: "
            "promote an earlier version with `recur promote VERSION`, or go back with `recur rollback`"
        )
    return champion
