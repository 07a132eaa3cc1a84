"""What the last weeks before a night were like: events a day, their mix of types, and which columns held something."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

import duckdb

from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import Night

USUAL_DAYS = 28
"""How far back a usual day is looked for: the median of the days that had events, of which there must be 7."""
DAYS_NEEDED = 7


@dataclass(frozen=True)
class Usual:
    """Figures of the last `USUAL_DAYS` before a night: the median number of events on the days that had any (0 where
    those are fewer than `DAYS_NEEDED`: then nothing is usual), each type's share, each column's share of nulls, and the
    last event's time in seconds since 1970.
    """

    a_day: float
    types: dict[str, float]
    absent: dict[str, float]
    last_event: float


NOTHING = Usual(0.0, {}, {}, 0.0)


def usual_before(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night) -> Usual:
    """What the events known in the four weeks before `night` say, all of them in the event store."""
    files = [store.path(loaded) for loaded in store.nights() if loaded < night.score_date]
    if night.start is None or not files:
        return NOTHING
    since = night.start - timedelta(days=USUAL_DAYS)
    # An object bears its end as its name: those that end by `since` hold nothing known after it.
    recent = ", ".join(literal(file) for file in files if file.stem > since.date().isoformat())
    held = nullable(store)
    counts = ", ".join(["count(*)", "epoch(max(event_time))::double", *(f"count({quoted(name)})" for name in held)])
    found = connection.execute(f"""
        select (event_time at time zone 'UTC')::date as day, event_type, {counts} from read_parquet([{recent}])
        where known_time > timestamptz '{since:%Y-%m-%d %H:%M:%S}+00' group by day, event_type
    """).fetchall()
    days, types = Counter[object](), Counter[str]()
    for day, kind, events, *_ in found:
        days[day] += events
        types[kind] += events
    if len(days) < DAYS_NEEDED:
        return NOTHING
    total = types.total()
    present = {name: sum(row[4 + place] for row in found) for place, name in enumerate(held)}
    return Usual(
        float(median(days.values())),
        {kind: count / total for kind, count in types.items()},
        {name: 1 - count / total for name, count in present.items()},
        max(row[3] for row in found),
    )


def nullable(store: EventStore) -> list[str]:
    """The columns of an event that may be null."""
    return ["amount", "quantity", *store.attributes]
