"""The profile of a night: figures about it that name no customer."""

from datetime import timedelta
from pathlib import Path

import duckdb

from pipeline.engine import literal
from pipeline.nights import DAY, Night
from pipeline.settings import Validation
from pipeline.store.event_store import EventStore
from pipeline.validation.rules import RowRule

USUAL_DAYS = 28
"""How far back a usual day is looked for: the median of the days that had events, of which there must be 7."""


def profile_of(
    connection: duckdb.DuckDBPyConnection,
    accepted: Path,
    store: EventStore,
    night: Night,
    rules: list[RowRule],
    limits: Validation,
) -> tuple[dict[str, float], dict[str, int]]:
    """The profile, and the rows set aside by reason.

    The profile has `rows_read, rows_accepted, rows_quarantined`, `unexpected` (those set aside for other than the
    expected reasons), their share in all and by subject, what is wrong with the accepted events (read back as they were
    written, so that it checks the split rather than repeats it), and the volume of events against a usual day.
    """
    by_reason = dict(connection.execute("select reason, count(*) from judged group by reason").fetchall())
    accepted_rows = by_reason.pop(None, 0)
    aside = sum(by_reason.values())
    read = accepted_rows + aside
    unexpected = sum(rows for reason, rows in by_reason.items() if reason not in limits.expected_reasons)
    by_subject = {f"{rule.subject}_share": 0.0 for rule in rules}
    for rule in rules:
        if rule.code in limits.expected_reasons:
            continue
        by_subject[f"{rule.subject}_share"] += by_reason.get(rule.code, 0) / max(read, 1)
    end = f"timestamptz '{night.end:%Y-%m-%d %H:%M:%S}+00'"
    start_of_time = "timestamptz '1970-02-01 00:00:00+00'"
    checks = {
        "events_accepted": "true",
        "without_customer": "coalesce(trim(customer_id), '') = '' or event_id is null or event_type is null",
        "outside_time": f"event_time is null or event_time < {start_of_time} or event_time >= {end}",
        "unusable_numbers": "not coalesce(isfinite(amount), true) or not coalesce(isfinite(quantity), true)",
        "known_too_late": f"known_time is null or known_time > {end}",
    }
    counts = ", ".join(f"count(*) filter ({predicate}) as {name}" for name, predicate in checks.items())
    found = connection.execute(f"select {counts} from read_parquet({literal(accepted)})").fetchone()
    assert found is not None
    usual = _usual_a_day(connection, store, night)
    days = (night.end - night.start) / DAY if night.start else 1
    profile = {
        "rows_read": read,
        "rows_accepted": accepted_rows,
        "rows_quarantined": aside,
        "unexpected": unexpected,
        "quarantined_share": unexpected / max(read, 1),
        **by_subject,
        **dict(zip(checks, map(float, found), strict=True)),
        "usual_a_day": usual,
        "volume_share": found[0] / days / usual if usual else 1.0,
    }
    return profile, by_reason


def _usual_a_day(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night) -> float:
    """The median number of events on the days with events among the last four weeks before `night`; 0 where there are
    fewer than 7 such days.
    """
    files = [store.path(loaded) for loaded in store.nights() if loaded < night.score_date]
    if night.start is None or not files:
        return 0.0
    since = night.start - timedelta(days=USUAL_DAYS)
    # An object bears its end as its name: those that end by `since` hold nothing known after it.
    recent = ", ".join(literal(file) for file in files if file.stem > since.date().isoformat())
    within = f"known_time > timestamptz '{since:%Y-%m-%d %H:%M:%S}+00'"
    days = f"""
        select (event_time at time zone 'UTC')::date as day, count(*) as events from read_parquet([{recent}])
        where {within} group by day
    """
    found = connection.execute(f"select count(*), median(events) from ({days})").fetchone()
    return float(found[1]) if found and found[0] >= 7 else 0.0
