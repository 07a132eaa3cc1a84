"""The aggregates that follow from others: how the silence, the pace and the amounts of now compare with before.

They are arithmetic on the columns of a customer's row, so they cost no look at an event, and are the same whichever way
the columns were found.
"""

from collections.abc import Mapping

import numpy as np

from features.arrays import Floats

WORDS = {
    "overdue": "days since the last event, divided by the mean gap",
    "overdue_longest": "days since the last event, divided by the longest gap",
    "gap_variation": "standard deviation of the gaps, divided by their mean: 0 for a clockwork, about 1 for chance",
    "events_a_day": "number of events, divided by the days since the first",
    "events_trend": "events of the last 28 days minus events of the 28 days before",
    "amount_trend": "sum of amounts of the last 28 days minus that of the 28 days before",
    "events_share_7": "events of the last 7 days, as a share of those of the last 28",
    "events_share_28": "events of the last 28 days, as a share of those of the last 91",
    "amount_share_28": "sum of amounts of the last 28 days, as a share of that of the last 91",
}

NUMBERS = (  # the columns that they are made of
    *("days_since_last_event", "days_since_first_event", "gap_mean", "gap_std", "gap_max"),
    *(f"events_{span}" for span in ("total", 7, 28, 56, 91)),
    *(f"amount_{span}" for span in (28, 56, 91)),
)


def compared(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns of WORDS, from the others of the same rows; NaN where a divisor is 0 or anything is undefined."""
    silence, gap_mean = columns["days_since_last_event"], _or_null(columns["gap_mean"])
    return {
        "overdue": silence / gap_mean,
        "overdue_longest": silence / _or_null(columns["gap_max"]),
        "gap_variation": columns["gap_std"] / gap_mean,
        "events_a_day": columns["events_total"] / _or_null(columns["days_since_first_event"]),
        "events_trend": 2 * columns["events_28"] - columns["events_56"],
        "amount_trend": 2 * columns["amount_28"] - columns["amount_56"],
        "events_share_7": columns["events_7"] / _or_null(columns["events_28"]),
        "events_share_28": columns["events_28"] / _or_null(columns["events_91"]),
        "amount_share_28": columns["amount_28"] / _or_null(columns["amount_91"]),
    }


def _or_null(divisor: Floats) -> Floats:
    return np.where(divisor == 0, np.nan, divisor)
