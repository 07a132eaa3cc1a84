"""What can be asked of a short history."""

from datetime import datetime

from features.question import Question


def shortened(question: Question, first_event: datetime, until: datetime) -> Question | None:
    """`question` with all its lengths divided by the smallest whole number for which it can be asked as of `until`, of
    events since `first_event`; None where no such number helps. A length stays at least a day.
    """
    longest = max(question.active_within, question.longest_reach, question.cutoff_every)
    for divisor in range(2, longest + 1):
        shorter = question.model_copy(
            update={
                "active_within": max(question.active_within // divisor, 1),
                "horizons": tuple(dict.fromkeys(max(days // divisor, 1) for days in question.horizons)),
                "primary_horizon": max(question.primary // divisor, 1),
                "gap": question.gap // divisor,
                "cutoff_every": max(question.cutoff_every // divisor, 1),
            }
        )
        if shorter.askable_from(first_event) <= until:
            return shorter
    return None
