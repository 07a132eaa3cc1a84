"""The profile of a night: figures about it that name no customer, some of them against the weeks before it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipeline.event_store.objects import scan
from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import DAY, Night
from pipeline.sources.expressions import FIRST_TIME, sql_instant
from pipeline.validation.rules import FUTURE, RowRule

BASELINE_DAYS = 28
"""How many days before a night make its baseline."""
DAYS_NEEDED = 7
"""How many of them must have events."""
SAMPLED_IDS = 1_000_000
"""Repeats are counted among about so many event ids; each is looked at with all its rows or not at all."""


@dataclass(frozen=True)
class AcceptedEvents:
    """The accepted events of a night, in a Parquet file. They are read back as they were written, so that the profile
    checks the split rather than repeats it.
    """

    connection: duckdb.DuckDBPyConnection
    file: Path
    night: Night

    @property
    def says_arrival(self) -> bool:
        """Whether the source says when a row arrived."""
        return "said_time" in pq.read_schema(self.file).names

    def query(self, columns: str, rest: str = "") -> list[tuple[Any, ...]]:
        """The rows of `select COLUMNS from the events REST`."""
        return self.connection.execute(f"select {columns} from read_parquet({literal(self.file)}) {rest}").fetchall()


@dataclass(frozen=True)
class Baseline:
    """Figures of the last `BASELINE_DAYS` before a night: the median number of events on the days that had any, each
    weekday's (from 0, Monday; days without events count), each type's share, each column's share of nulls, and the last
    event's time in seconds since 1970. All is 0 or empty where fewer than `DAYS_NEEDED` days had events.
    """

    a_day: float = 0.0
    weekdays: dict[int, float] = field(default_factory=dict)
    types: dict[str, float] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    last_event: float = 0.0


def profile_of(
    accepted: AcceptedEvents, set_aside: dict[str, int], rules: list[RowRule], store: EventStore, expected: set[str]
) -> dict[str, float]:
    """The profile of a night whose rows were judged by `rules` and `set_aside`, by reason.

    It has `rows_read, rows_accepted, rows_quarantined`, `unexpected` (rows set aside for other than the
    `expected` reasons), their share in all and by subject, what is wrong with the accepted events, how many repeat
    another, and how the night differs from its baseline.
    """
    [(accepted_rows,)] = accepted.query("coalesce(sum(source_rows), 0)::bigint")
    quarantined = sum(set_aside.values())
    read = accepted_rows + quarantined
    unexpected = {reason: rows for reason, rows in set_aside.items() if reason not in expected}
    by_subject = {f"{rule.subject}_share": 0.0 for rule in rules}
    for rule in rules:
        by_subject[f"{rule.subject}_share"] += unexpected.get(rule.code, 0) / max(read, 1)
    broken = _broken_promises(accepted)
    made_ids = all(rule.subject != "event_id" for rule in rules)
    return {
        "rows_read": read,
        "rows_accepted": accepted_rows,
        "rows_quarantined": quarantined,
        "unexpected": sum(unexpected.values()),
        "quarantined_share": sum(unexpected.values()) / max(read, 1),
        "future_share": unexpected.get(FUTURE, 0) / max(read, 1),
        **by_subject,
        **broken,
        "repeated_share": _repeated_share(accepted, broken["events_accepted"], made_ids),
        **_against_baseline(accepted, store),
    }


def _broken_promises(accepted: AcceptedEvents) -> dict[str, float]:
    """How many events were accepted, and how many of them break each promise of the event store."""
    first, end = sql_instant(FIRST_TIME), sql_instant(accepted.night.end)
    predicates = {
        "events_accepted": "true",
        "without_customer": "coalesce(trim(customer_id), '') = '' or event_id is null or event_type is null",
        "outside_time": f"event_time is null or event_time < {first} or event_time >= {end}",
        "unusable_numbers": "not coalesce(isfinite(amount), true) or not coalesce(isfinite(quantity), true)",
        "known_too_late": f"known_time is null or known_time > {end}",
    }
    [counts] = accepted.query(", ".join(f"count(*) filter ({predicate})" for predicate in predicates.values()))
    return dict(zip(predicates, map(float, counts), strict=True))


def _repeated_share(accepted: AcceptedEvents, events: float, made_ids: bool) -> float:
    """The share of accepted rows that equal another row of the night; 0 where the source gives ids, since rows of one
    id that say the same are one event, however often they come. The made ids of equal rows differ only in the number
    at their end (`pipeline.validation.parsing`).
    """
    if not made_ids:
        return 0.0
    one_in = max(1, int(events) // SAMPLED_IDS)
    content = "split_part(event_id, '-', 1)"
    sampled = f"where hash({content}) % {one_in} = 0"
    [(rows, different)] = accepted.query(f"count(*), count(distinct ({content}, known_time))", sampled)
    return 1 - different / rows if rows else 0.0


def _against_baseline(accepted: AcceptedEvents, store: EventStore) -> dict[str, float]:
    """The night against its baseline: `usual`, the events of its days as their weekdays have them, `usual_low` and
    `usual_high`, the least and the most that weekdays or the days' median say, and `volume_share` of the usual; `late`,
    how many of its events are of days before it, where the source does not say when a row arrived;
    `silent_days` since the last event; `longest_silence` and `busiest_day` of all that is loaded, 0 where the night is
    like its baseline; `mix_drift`, half the sum of the distances between each type's share then and now, and
    `mix_noise`, about what chance alone makes of it; and `<column>_absent_rise`, by how much the share of nulls rose.
    """
    night, names = accepted.night, ["amount", "quantity", *store.attributes]
    baseline = _baseline(accepted.connection, store, night, names)
    nulls = ", ".join(f"count(*) - count({quoted(name)})" for name in names)
    late = "false" if night.start is None or accepted.says_arrival else f"event_time < {sql_instant(night.start)}"
    [(events, last, late_events, *absent)] = accepted.query(
        f"count(*), epoch(max(event_time))::double, count_if({late}), {nulls}"
    )
    counts = dict(accepted.query("event_type, count(*)", "group by 1 order by 1"))
    every = _days_of(night)
    by_weekday = sum(baseline.weekdays.get(day.weekday(), baseline.a_day) for day in every)
    usual = by_weekday or baseline.a_day * len(every)
    silent_days = (night.end.timestamp() - max(last or 0.0, baseline.last_event)) / DAY.total_seconds()
    unusual = baseline.a_day and (silent_days > DAYS_NEEDED or events > 2 * usual)
    before = _days_before(accepted.connection, store, night) if unusual else []
    types = sorted(counts.keys() | baseline.types.keys())
    drift = sum(abs(counts.get(name, 0) / max(events, 1) - baseline.types.get(name, 0.0)) for name in types) / 2
    return {
        "baseline_a_day": baseline.a_day,
        "usual": usual,
        "usual_low": min(by_weekday, baseline.a_day * len(every)),
        "usual_high": max(by_weekday, baseline.a_day * len(every)),
        "volume_share": events / usual if usual else 1.0,
        "late": late_events,
        "silent_days": silent_days,
        "longest_silence": max([(two - one).days - 1 for (one, _), (two, _) in pairwise(before)], default=0),
        "busiest_day": max([count for _, count in before], default=0),
        "mix_drift": drift,
        "mix_noise": sqrt(len(types) / max(events, 1)) / 2,
        **{
            f"{name}_absent_rise": count / max(events, 1) - baseline.absent.get(name, 1.0)
            for name, count in zip(names, absent, strict=True)
        },
    }


def _baseline(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night, names: Sequence[str]) -> Baseline:
    """The baseline of `night`, of events known before it; `names` are the columns that may be null."""
    files = [store.path(loaded) for loaded in store.nights() if loaded < night.score_date]
    if night.start is None or not files:
        return Baseline()
    since = night.start - timedelta(days=BASELINE_DAYS)
    # An object bears its end as its name: those that end by `since` hold nothing known after it.
    recent = [file for file in files if file.stem > since.date().isoformat()]
    counts = ", ".join(["count(*)", "epoch(max(event_time))::double", *(f"count({quoted(name)})" for name in names)])
    rows = connection.execute(f"""
        select (event_time at time zone 'UTC')::date as day, event_type, {counts} from {scan(recent)}
        where known_time > {sql_instant(since)} group by day, event_type
    """).fetchall()
    days, types = Counter[date](), Counter[str]()
    for day, event_type, events, *_ in rows:
        days[day] += events
        types[event_type] += events
    if len(days) < DAYS_NEEDED:
        return Baseline()
    total = types.total()
    present = {name: sum(row[4 + place] for row in rows) for place, name in enumerate(names)}
    return Baseline(
        float(median(days.values())),
        _by_weekday(days, max(since.date(), min(days)), night.start.date()),
        {event_type: count / total for event_type, count in types.items()},
        {name: 1 - count / total for name, count in present.items()},
        max(row[3] for row in rows),
    )


def _by_weekday(days: Counter[date], first: date, end: date) -> dict[int, float]:
    """The median number of events on each weekday of `[first, end)` that occurs twice or more."""
    counts: dict[int, list[int]] = {}
    for number in range((end - first).days):
        day = first + timedelta(days=number)
        counts.setdefault(day.weekday(), []).append(days[day])
    return {weekday: float(median(each)) for weekday, each in counts.items() if len(each) > 1}


def _days_of(night: Night) -> list[date]:
    """The days that the night covers; its last one for the history."""
    first = night.start or night.end - DAY
    return [(first + number * DAY).date() for number in range(max(int((night.end - first) / DAY), 1))]


def _days_before(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night) -> list[tuple[date, int]]:
    """Every day that has events in what was loaded before, ascending, and how many."""
    files = [store.path(loaded) for loaded in store.nights() if loaded < night.score_date]
    return connection.execute(
        f"select (event_time at time zone 'UTC')::date as day, count(*) from {scan(files)} group by day order by day"
    ).fetchall()
