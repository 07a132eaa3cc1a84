"""The profile of a night: figures about it that name no customer."""

from math import sqrt
from pathlib import Path

import duckdb

from pipeline.config.sections import Validation
from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import DAY, Night
from pipeline.validation.baseline import Usual, nullable, usual_before
from pipeline.validation.rules import FUTURE, RowRule

SAMPLED_IDS = 1_000_000
"""Repeats are counted among about so many event ids; each is looked at with all its rows or not at all."""


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
    written, so that it checks the split rather than repeats it), how many repeat another, and how the night stands
    against the weeks before it.
    """
    by_reason = dict(connection.execute("select reason, count(*) from set_aside group by reason").fetchall())
    rows = f"select coalesce(sum(source_rows), 0)::bigint from read_parquet({literal(accepted)})"
    [(accepted_rows,)] = connection.execute(rows).fetchall()
    aside = sum(by_reason.values())
    read = accepted_rows + aside
    unexpected = {reason: rows for reason, rows in by_reason.items() if reason not in limits.expected_reasons}
    by_subject = {f"{rule.subject}_share": 0.0 for rule in rules}
    for rule in rules:
        by_subject[f"{rule.subject}_share"] += unexpected.get(rule.code, 0) / max(read, 1)
    checks = _checks(connection, accepted, night)
    made_ids = all(rule.subject != "event_id" for rule in rules)
    profile = {
        "rows_read": read,
        "rows_accepted": accepted_rows,
        "rows_quarantined": aside,
        "unexpected": sum(unexpected.values()),
        "quarantined_share": sum(unexpected.values()) / max(read, 1),
        "future_share": unexpected.get(FUTURE, 0) / max(read, 1),
        **by_subject,
        **checks,
        "repeated_share": _repeated_share(connection, accepted, checks["events_accepted"], made_ids),
        **_against(usual_before(connection, store, night), connection, accepted, store, night),
    }
    return profile, by_reason


def _checks(connection: duckdb.DuckDBPyConnection, accepted: Path, night: Night) -> dict[str, float]:
    """How many events were accepted, and how many of them each promise of the event store is broken by."""
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
    [found] = connection.execute(f"select {counts} from read_parquet({literal(accepted)})").fetchall()
    return dict(zip(checks, map(float, found), strict=True))


def _repeated_share(connection: duckdb.DuckDBPyConnection, accepted: Path, events: float, made_ids: bool) -> float:
    """The share of accepted rows that say what another row of the night says. Where the ids are made, those of rows
    that say the same differ in the number at their end alone (`pipeline.validation.parsing`).
    """
    one_in = max(1, int(events) // SAMPLED_IDS)
    said = "split_part(event_id, '-', 1)" if made_ids else "event_id"
    [(rows, apart)] = connection.execute(f"""
        select count(*), count(distinct (id, known_time))
        from (select {said} as id, known_time from read_parquet({literal(accepted)})) where hash(id) % {one_in} = 0
    """).fetchall()
    return 1 - apart / rows if rows else 0.0


def _against(
    usual: Usual, connection: duckdb.DuckDBPyConnection, accepted: Path, store: EventStore, night: Night
) -> dict[str, float]:
    """The night beside the weeks before it: `volume_share` of a usual day's events; `silent_days` since the last event;
    `mix_drift`, half the sum of the distances between each type's share then and now, and `mix_noise`, about what
    chance alone makes of it; and `<column>_absent_rise`, by how much the share of nulls rose.
    """
    held = nullable(store)
    rows = f"read_parquet({literal(accepted)})"
    counts = ", ".join(f"count(*) - count({quoted(name)})" for name in held)
    [(events, last, *nulls)] = connection.execute(
        f"select count(*), epoch(max(event_time))::double, {counts} from {rows}"
    ).fetchall()
    types = dict(connection.execute(f"select event_type, count(*) from {rows} group by 1 order by 1").fetchall())
    days = (night.end - night.start) / DAY if night.start else 1
    names = sorted(types.keys() | usual.types.keys())
    drift = sum(abs(types.get(name, 0) / max(events, 1) - usual.types.get(name, 0.0)) for name in names) / 2
    return {
        "usual_a_day": usual.a_day,
        "volume_share": events / days / usual.a_day if usual.a_day else 1.0,
        "silent_days": (night.end.timestamp() - max(last or 0.0, usual.last_event)) / DAY.total_seconds(),
        "mix_drift": drift,
        "mix_noise": sqrt(len(names) / max(events, 1)) / 2,
        **{
            f"{name}_absent_rise": count / max(events, 1) - usual.absent.get(name, 1.0)
            for name, count in zip(held, nulls, strict=True)
        },
    }
