"""The calendar of the cutoff, as features. Seasons take years to be learnt: within one, the month is only the time."""

import math
from datetime import datetime

WORDS = {
    "weekday_sine": "weekday of the cutoff as an angle (Monday 0, a week once around), its sine",
    "weekday_cosine": "weekday of the cutoff as an angle, its cosine",
    "month_sine": "month of the cutoff as an angle (January 0, a year once around), its sine",
    "month_cosine": "month of the cutoff as an angle, its cosine",
    "days_to_year_end": "days from the cutoff to the end of its year in UTC",
}
TIME_OF_YEAR = ("month_sine", "month_cosine", "days_to_year_end")  # of WORDS


def calendar(cutoff: datetime) -> dict[str, float]:
    """The columns of WORDS, the same for all examples of a cutoff, which is a midnight in UTC."""
    weekday, month = (2 * math.pi * part for part in (cutoff.weekday() / 7, (cutoff.month - 1) / 12))
    left = datetime(cutoff.year + 1, 1, 1, tzinfo=cutoff.tzinfo) - cutoff
    return {
        "weekday_sine": math.sin(weekday),
        "weekday_cosine": math.cos(weekday),
        "month_sine": math.sin(month),
        "month_cosine": math.cos(month),
        "days_to_year_end": float(left.days),
    }
