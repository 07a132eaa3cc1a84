"""The aggregates view: an example as one row of numbers. Every feature's name, and its definition in words.

All lengths of time are days; windows are `[cutoff - N days, cutoff)`. A feature that is undefined for a customer (the
mean gap of a single event) is null, never a made-up number.
"""

from collections.abc import Iterable

from features.aggregates import calendar, comparisons
from features.spec import FeatureSpec

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
    if "event_type" in spec.told_apart:
        words["days_since_activity"] = "days from the last activity, as the question means it, to the cutoff"
    for name, values in spec.told_apart.items():
        kind = "of the type" if name == "event_type" else f"with the {name}"
        for value in values:
            words[f"days_since_{name}={value}"] = f"days from the last event {kind} {value} to the cutoff"
            for days in ATTRIBUTE_WINDOWS:
                words[f"{name}={value}_{days}"] = f"number of events {kind} {value} in the last {days} days"
    if spec.calendar:
        words |= calendar.WORDS
    return words


def columns_of_categories(columns: Iterable[str], texts: Iterable[str]) -> set[str]:
    """Those of `columns` that tell of the values of the text columns `texts` of an event."""
    beginnings = tuple(
        beginning for text in texts for beginning in (f"distinct_{text}_", f"days_since_{text}=", f"{text}=")
    )
    return {column for column in columns if column.startswith(beginnings)}


def told_apart(columns: Iterable[str], texts: Iterable[str]) -> dict[str, list[str]]:
    """Of each of the text columns `texts` of an event, the values that have features of their own among `columns`."""
    found: dict[str, list[str]] = {text: [] for text in texts}
    for column in columns:
        text, _, value = column.removeprefix("days_since_").partition("=")
        if column.startswith("days_since_") and value and text in found:
            found[text].append(value)
    return found
