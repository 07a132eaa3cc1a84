"""Leaks in the user's own data: signs that an event holds what could not be known when it happened.

What is certain is `wrong`; what only looks like the future is `doubtful`, and a person decides.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.event_store.objects import scan
from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import quoted, session
from pipeline.runtime.paths import StateFolder

FUTURE_WORDS = frozenset(
    {"churn", "churned", "label", "target", "outcome", "status", "cancelled", "canceled", "lifetime", "ltv", "clv"}
    | {"next", "future", "last_login", "last_seen", "last_purchase", "final", "end_date", "closed"}
)
CONSTANT_SHARE = 0.99
FEWEST_CUSTOMERS = 20


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of `recur check`: `wrong` stops the pipeline, `doubtful` is for a person to judge."""

    state: Literal["right", "doubtful", "wrong"]
    what: str
    words: str


def leaks(store: EventStore, state: StateFolder) -> list[CheckResult]:
    """What the loaded events and their attributes give away."""
    if not store.nights():
        return [
            CheckResult("doubtful", "leaks", "no night is loaded, so there is nothing to look at: run `recur ingest`")
        ]
    with session(state) as connection:
        events = scan([store.path(night) for night in store.nights()], ", filename = true")
        return [_clocks(connection, events), *_names(store), *_as_of_today(connection, events, store)]


def _clocks(connection: Any, events: str) -> CheckResult:
    """Events known before they happened, or that happened after the end of the night that brought them."""
    early, late, rows = connection.execute(
        "select count(*) filter (where known_time < event_time and not deleted), "
        "count(*) filter (where event_time >= parse_filename(filename, true)::date::timestamp at time zone 'UTC'), "
        f"count(*) from {events}"
    ).fetchone()
    if early or late:
        words = (
            f"{early:,} events were known before they happened and {late:,} lie past the end of their night: check "
            "source.columns.event_time, source.columns.known_time and source.timezone"
        )
        return CheckResult("wrong", "two clocks", words)
    return CheckResult("right", "two clocks", f"none of {rows:,} events was known before it happened")


def _names(store: EventStore) -> list[CheckResult]:
    """Attributes that are called like something known only later."""
    doubtful = []
    for name in store.attributes:
        words = set(re.split(r"_", name)) | {name}
        if hits := sorted(FUTURE_WORDS & words or {word for word in FUTURE_WORDS if "_" in word and word in name}):
            meaning = f"is called like the future ({', '.join(hits)}): make sure that it was known at the event's time"
            doubtful.append(CheckResult("doubtful", f"attribute {name}", meaning))
    return doubtful or [CheckResult("right", "names", "no attribute is called like something that is known only later")]


def _as_of_today(connection: Any, events: str, store: EventStore) -> list[CheckResult]:
    """Attributes with one value a customer throughout, and different ones across customers: often read as of today."""
    doubtful = []
    for name in store.attributes:
        column = quoted(name)
        constant, customers, values = connection.execute(
            f"select count(*) filter (where kinds = 1), count(*), count(distinct smallest) from (select count(distinct "
            f"{column}) as kinds, min({column}) as smallest from {events} where {column} is not null "
            "group by customer_id having count(*) > 1)"
        ).fetchone()
        if customers >= FEWEST_CUSTOMERS and values > 1 and constant >= CONSTANT_SHARE * customers:
            meaning = (
                f"never changes for {constant:,} of {customers:,} customers: if it is the customer's state as of today "
                "(lifetime value, status, last login), it is the future for most of their events: leave it out"
            )
            doubtful.append(CheckResult("doubtful", f"attribute {name}", meaning))
    return doubtful or [CheckResult("right", "as of today", "no attribute stands still for each customer")]
