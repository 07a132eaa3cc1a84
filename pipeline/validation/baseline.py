"""The baseline of a night: events a day, their mix of types, and the columns' nulls in the weeks before it."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

import duckdb

from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import Night
from pipeline.sources.expressions import sql_instant

BASELINE_DAYS = 28
"""How many days before a night make its baseline."""
DAYS_NEEDED = 7
"""How many of them must have events."""


@dataclass(frozen=True)
class Baseline:
    """Figures of the last `BASELINE_DAYS` before a night: the median number of events on the days that had any, each
    type's share, each column's share of nulls, and the last event's time in seconds since 1970. All is 0 or empty where
    fewer than `DAYS_NEEDED` days had events.
    """

    a_day: float = 0.0
    types: dict[str, float] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    last_event: float = 0.0


def baseline_before(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night) -> Baseline:
    """The baseline of `night`, of events known before it."""
    files = [store.path(loaded) for loaded in store.nights() if loaded < night.score_date]
    if night.start is None or not files:
        return Baseline()
    since = night.start - timedelta(days=BASELINE_DAYS)
    # An object bears its end as its name: those that end by `since` hold nothing known after it.
    recent = ", ".join(literal(file) for file in files if file.stem > since.date().isoformat())
    names = nullable(store)
    counts = ", ".join(["count(*)", "epoch(max(event_time))::double", *(f"count({quoted(name)})" for name in names)])
    rows = connection.execute(f"""
        select (event_time at time zone 'UTC')::date as day, event_type, {counts} from read_parquet([{recent}])
        where known_time > {sql_instant(since)} group by day, event_type
    """).fetchall()
    days, types = Counter[object](), Counter[str]()
    for day, event_type, events, *_ in rows:
        days[day] += events
        types[event_type] += events
    if len(days) < DAYS_NEEDED:
        return Baseline()
    total = types.total()
    present = {name: sum(row[4 + place] for row in rows) for place, name in enumerate(names)}
    return Baseline(
        float(median(days.values())),
        {event_type: count / total for event_type, count in types.items()},
        {name: 1 - count / total for name, count in present.items()},
        max(row[3] for row in rows),
    )


def nullable(store: EventStore) -> list[str]:
    """The columns of an event that may be null."""
    return ["amount", "quantity", *store.attributes]
