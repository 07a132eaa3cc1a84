"""Groups of inputs: which theme or attribute a column of the aggregates speaks of."""

import re

LAST_EVENT, EVENTS, AMOUNT, QUANTITY, FIRST_EVENT = "last_event", "events", "amount", "quantity", "first_event"
THEMES = (
    (re.compile(r"days_since_last_event|overdue"), LAST_EVENT),
    (re.compile(r"days_since_first_event"), FIRST_EVENT),
    (re.compile(r"events_(\d+|total|trend)|active_days_total|gap_(mean|std|max|last)"), EVENTS),
    (re.compile(r"amount_(\d+|total|mean|max|last)"), AMOUNT),
    (re.compile(r"quantity_\d+"), QUANTITY),
)
ATTRIBUTE = re.compile(r"days_since_(?P<since>\w+)|distinct_(?P<distinct>\w+)_\d+|(?P<sum>\w+)_\d+")


def group_of(column: str) -> str:
    """The group of an aggregates column: a theme, or the attribute that it speaks of."""
    for pattern, theme in THEMES:
        if pattern.fullmatch(column):
            return theme
    found = ATTRIBUTE.fullmatch(column)
    return next(name for name in found.groups() if name) if found else column
