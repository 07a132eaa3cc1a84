"""The second step of a night: each row judged by the row rules, then the night as a whole by the night rules."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.config.source import CORE_COLUMNS, LINES
from pipeline.event_store.store import EventStore
from pipeline.monitoring.step_record import recorded
from pipeline.runtime import paths
from pipeline.runtime.engine import PARQUET, literal, session
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.sources.factory import open_source
from pipeline.validation.night_rules import NightRule, night_rules
from pipeline.validation.parsing import events, judged, source_row
from pipeline.validation.profile import profile_of
from pipeline.validation.rules import CONFLICT, RowRule, row_rules


def validate(settings: Settings, night: Night) -> dict[str, int]:
    """Splits the staged night into the accepted events and the quarantine, and returns `rows_read, rows_accepted,
    rows_quarantined`. Raises RecurError, which names the rule, the figures and the mend, where the night is refused:
    then nothing is accepted, and the event store and the predictions stay as they were.
    """
    from pipeline.validation.expectations import expect

    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "validate", night) as figures, settings.state.alone("night"):
        staged, accepted = settings.state.staged(night), settings.state.accepted(night)
        if not staged.exists():
            raise RecurError(f"{staged} does not exist: the night {night.name} was not extracted; run recur ingest")
        accepted.unlink(missing_ok=True)
        store = EventStore(settings.events, open_source(settings).attributes())
        names = pq.read_schema(staged).names
        counted = {LINES} if settings.source.rows_are == "lines" else set()
        if missing := set(store.attributes) - set(names) - counted:
            raise RecurError(
                f"{staged} has no column {min(missing)}: extract the night {night.name} again (recur ingest)"
            )
        mapped = [name for name in names if name in CORE_COLUMNS or name in store.attributes]
        kinds = {name: kind for name, kind in store.attributes.items() if name not in counted}
        rules = row_rules(mapped, kinds)
        _require_known(settings.validation.expected_reasons, [*rules, CONFLICT])
        with session(settings.state) as connection, paths.atomically(accepted) as file:
            source = f"read_parquet({literal(staged)})"
            query = judged(source, mapped, kinds, night, rules, settings.source)
            # Twice asked, never held: a night may be larger than memory, and few of its rows are set aside.
            connection.execute(f"create temp view judged as {query}")
            connection.execute("create temp table set_aside as from judged where reason is not null")
            _write_quarantine(connection, settings.state.quarantine(night), night, mapped)
            found = events("judged", store.attributes, settings.source)
            connection.execute(f"copy ({found}) to {literal(file)} ({PARQUET})")
            rules = [*rules, CONFLICT] if "event_id" in mapped else rules
            profile, by_reason = profile_of(connection, file, store, night, rules, settings.validation)
            counts = {name: int(profile[name]) for name in ("rows_read", "rows_accepted", "rows_quarantined")}
            figures.update(counts)
            expected = night_rules(profile, rules, settings.validation, is_history=night.start is None)
            broken = expect(settings, night, profile, expected)
            if broken:
                told = _refusal(night, broken[0], profile, by_reason, rules, settings.validation.expected_reasons)
                raise RecurError(f"{told}; all its figures and limits: {settings.state.data_docs_page.as_uri()}")
        return counts


def _write_quarantine(connection: duckdb.DuckDBPyConnection, path: Path, night: Night, mapped: list[str]) -> None:
    rows = f"""
        select {literal(night.name)} as night, reason, {source_row(mapped)} as row, set_aside.row as source_row
        from set_aside order by set_aside.row, reason
    """
    with paths.atomically(path) as file:
        connection.execute(f"copy ({rows}) to {literal(file)} (format parquet)")


def _require_known(reasons: tuple[str, ...], rules: list[RowRule]) -> None:
    codes = [rule.code for rule in rules]
    if unknown := [reason for reason in reasons if reason not in codes]:
        raise ConfigurationError(
            f"validation.expected_reasons has {unknown[0]!r}, which is no reason here: it can have {', '.join(codes)}"
        )


def _refusal(
    night: Night,
    broken: NightRule,
    profile: dict[str, float],
    by_reason: dict[str, int],
    rules: list[RowRule],
    expected: tuple[str, ...],
) -> str:
    """One line: the night, the rule, the figures, the mend."""
    rows, value = int(profile["rows_read"]), profile[broken.figure]
    counted = [rule for rule in rules if rule.code not in expected]
    if broken.figure == "volume_share":
        found = (
            f"{int(profile['events_accepted'])} events are {value:.1%} of the usual {profile['usual_a_day']:.0f} a "
            f"day, expected from {broken.minimum:.0%} to {broken.maximum:.0%}"
        )
    elif broken.figure in {"quarantined_share", *(f"{rule.subject}_share" for rule in counted)}:
        most = max(counted, key=lambda rule: by_reason.get(rule.code, 0))
        found = (
            f"{int(profile['unexpected'])} of {rows} rows ({profile['quarantined_share']:.1%}) were set aside, "
            f"at most {broken.maximum:.1%} may be; most often ({by_reason[most.code]} rows) {most.words} ({most.code})"
        )
    elif broken.figure.endswith(("_share", "_drift", "_rise")):
        found = f"{broken.words}: {value:.1%}, {broken.limits('.1%')}"
    elif broken.figure.endswith("_days"):
        found = f"{broken.words}: {value:.1f}, {broken.limits()}"
    else:
        found = f"{broken.words}: {value:.0f} of {rows} rows"
    return f"the night {night.name} is refused and nothing of it was loaded: {found}: {broken.mend}"
