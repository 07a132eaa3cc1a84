"""The aggregates view: an example as one row of numbers. Every feature's name, and its definition in words.

All lengths of time are days; windows are `[cutoff - N days, cutoff)`. A feature that is undefined for a customer (the
mean gap of a single event) is null, never a made-up number.
"""

from collections.abc import Iterable

from features.aggregates import calendar, comparisons
from features.spec import FeatureSpec

SINCE_TYPE = "days_since_event_type="
WINDOWS = (7, 14, 28, 56, 91)
ATTRIBUTE_WINDOWS = (28, 91)


def definitions(spec: FeatureSpec) -> dict[str, str]:
    """Feature name -> its definition, in the order of the columns."""
    words = {
        "days_since_last_event": "days from the last event to the cutoff",
        "days_since_first_event": "days from the first event to the cutoff",
        "events_total": "number of events",
        "active_days_total": "number of different UTC days with an event",
        "amount_total": "sum of amounts",
        "amount_mean": "mean amount of the events that have one",
        "amount_max": "largest amount",
        "amount_last": "amount of the last event",
        "gap_mean": "mean number of days between consecutive events",
        "gap_std": "standard deviation (of the population) of the days between consecutive events",
        "gap_max": "longest gap between consecutive events, in days",
        "gap_last": "days between the last two events",
        "amount_mean_91": "mean amount of the events of the last 91 days that have one",
    }
    for days in WINDOWS:
        words[f"events_{days}"] = f"number of events in the last {days} days"
        words[f"amount_{days}"] = f"sum of amounts in the last {days} days"
    for days in ATTRIBUTE_WINDOWS:
        words[f"quantity_{days}"] = f"sum of quantities in the last {days} days"
    words |= comparisons.WORDS
    for name in spec.numeric:
        for days in ATTRIBUTE_WINDOWS:
            words[f"{name}_{days}"] = f"sum of {name} in the last {days} days"
        words[f"days_since_{name}"] = f"days from the last event with {name} above 0 to the cutoff"
    for name in spec.categorical:
        words[f"distinct_{name}_91"] = f"number of different values of {name} in the last 91 days"
    if spec.types:
        words["days_since_activity"] = "days from the last activity, as the question means it, to the cutoff"
    for name in spec.types:
        words[f"{SINCE_TYPE}{name}"] = f"days from the last event of the type {name} to the cutoff"
        for days in ATTRIBUTE_WINDOWS:
            words[f"event_type={name}_{days}"] = f"number of events of the type {name} in the last {days} days"
    if spec.calendar:
        words |= calendar.WORDS
    return words


def types_told_apart(columns: Iterable[str]) -> list[str]:
    """The event types that have features of their own among these."""
    return [name.removeprefix(SINCE_TYPE) for name in columns if name.startswith(SINCE_TYPE)]
