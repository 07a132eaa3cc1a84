"""Feature groups: the subject or attribute that a column of the aggregates describes."""

import re

LAST_EVENT, EVENTS, AMOUNT, QUANTITY, FIRST_EVENT = "last_event", "events", "amount", "quantity", "first_event"
CALENDAR = "calendar"
PATTERNS = (
    (re.compile(r"days_since_(last_event|activity)|overdue(_\w+)?|silence_at_period|period_(begin|days)"), LAST_EVENT),
    (re.compile(r"days_since_first_event"), FIRST_EVENT),
    (
        re.compile(
            r"events_(\d+|total|trend|a_day|a_visit|share_\d+)|active_days_total|gap(_(mean|std|max|last|variation))?"
        ),
        EVENTS,
    ),
    (re.compile(r"amount_(\d+|total|mean(_\d+)?|max|last|trend|share_\d+)"), AMOUNT),
    (re.compile(r"quantity_\d+"), QUANTITY),
    (re.compile(r"(hour|weekday|month|year)_(sine|cosine)|days_to_year_end"), CALENDAR),
)
ATTRIBUTE = re.compile(r"days_since_(?P<since>.+)|distinct_(?P<distinct>\w+)_\d+|(?P<sum>.+)_\d+", re.DOTALL)


def group_of(column: str) -> str:
    """The group of an aggregates column or of a network's channel: one of `PATTERNS`, or the attribute it describes."""
    column = column.removesuffix("_is_null")
    for pattern, group in PATTERNS:
        if pattern.fullmatch(column):
            return group
    match = ATTRIBUTE.fullmatch(column)
    return next(name for name in match.groups() if name) if match else column


WORDS = {
    LAST_EVENT: "time since the last event",
    EVENTS: "how often, and in which rhythm",
    AMOUNT: "spend",
    FIRST_EVENT: "time since the first event",
    CALENDAR: "time of day and year",
}


def in_words(group: str) -> str:
    """A group in plain words; an attribute by its name."""
    return WORDS.get(group) or group.removeprefix("spend_").replace("_", " ")
