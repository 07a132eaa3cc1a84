"""The second step of a night: each row judged by the row rules, then the night as a whole by the night rules."""

import json
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.config.source import CORE_COLUMNS, LINES, Source
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.described import described, remove, whole
from pipeline.runtime.engine import PARQUET, literal, session
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.sources.contract import Kind
from pipeline.validation.expectations import expect
from pipeline.validation.night_rules import SetAside, night_rules, refusal
from pipeline.validation.parsing import SHOWN, StagedNight, events, judged, source_row
from pipeline.validation.preview import LONGEST_EXAMPLE
from pipeline.validation.profile import AcceptedEvents, profile_of
from pipeline.validation.rules import CONFLICT, NOBODY, RowRule, row_rules

READ_AGAIN = "read the night again with `recur ingest`"


def validate(settings: Settings, night: Night) -> dict[str, int]:
    """Splits the staged night into the accepted events and the quarantine, and returns `rows_read, rows_accepted,
    rows_quarantined`. Raises RecurError, which names the rule, the figures and the fix, where the night is refused:
    then nothing is accepted, and the event store and the predictions stay as they were.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    state, limits = settings.state, settings.validation
    with recorded(predictions, state, "validate", night) as figures, state.alone("night"):
        accepted, store = state.accepted(night), open_store(settings)
        store.require_whole(but=night)
        file = state.staged(night)
        if not file.exists():
            raise RecurError(f"{file} does not exist: the night {night.name} was not extracted; run recur ingest")
        remove(accepted)
        staged = _staged_night(whole(file.parent, file.name, READ_AGAIN), night, store.attributes, settings.source)
        rules = row_rules(staged.columns, staged.attributes, settings.source.nobody)
        expected_reasons = {*limits.expected_reasons, NOBODY.code}
        _require_known(limits.expected_reasons, [*rules, CONFLICT])
        with session(state) as connection, described(accepted.parent, accepted.name) as temporary:
            # A view that is queried twice, not a table: a night may be larger than memory, and few rows are set aside.
            connection.execute(f"create temp view judged as {judged(staged, rules)}")
            connection.execute("create temp table set_aside as from judged where reason is not null")
            _write_quarantine(connection, state.quarantine(night), staged)
            rows = events("judged", store.attributes, settings.source)
            connection.execute(f"copy ({rows}) to {literal(temporary)} ({PARQUET})")
            if "event_id" in staged.columns:
                rules = [*rules, CONFLICT]
            set_aside = dict(connection.execute("select reason, count(*) from set_aside group by reason").fetchall())
            written = AcceptedEvents(connection, temporary, night)
            profile = profile_of(written, set_aside, rules, store, expected_reasons)
            counts = {name: int(profile[name]) for name in ("rows_read", "rows_accepted", "rows_quarantined")}
            figures.update(counts)
            expected = night_rules(profile, rules, limits, is_history=night.start is None)
            if broken := expect(state.data_docs, night, profile, expected):
                unexpected = [rule for rule in rules if rule.code not in expected_reasons]
                example = partial(_example, connection, state.quarantine(night))
                reason = refusal(night, broken[0], profile, SetAside(set_aside, example), unexpected)
                raise RecurError(f"{reason}; all its figures and limits: {state.data_docs_page.as_uri()}")
        return counts


def _staged_night(file: Path, night: Night, attributes: dict[str, Kind], source: Source) -> StagedNight:
    """The staged night in `file`. Raises RecurError where it has not the source's `attributes`."""
    names = pq.read_schema(file).names
    staged = {name: kind for name, kind in attributes.items() if name != LINES or source.rows_are != "lines"}
    if missing := set(staged) - set(names):
        raise RecurError(f"{file} has no column {min(missing)}: extract the night {night.name} again (recur ingest)")
    columns = [name for name in names if name in CORE_COLUMNS or name in attributes]
    return StagedNight(f"read_parquet({literal(file)})", columns, staged, night, source)


def _write_quarantine(connection: duckdb.DuckDBPyConnection, path: Path, staged: StagedNight) -> None:
    row = source_row(staged.columns)
    rows = f"""
        select {literal(staged.night.name)} as night, reason, {row} as row, set_aside.row as source_row
        from set_aside order by set_aside.row, reason
    """
    with described(path.parent, path.name) as file:
        connection.execute(f"copy ({rows}) to {literal(file)} (format parquet)")


def _example(connection: duckdb.DuckDBPyConnection, quarantine: Path, rule: RowRule) -> str:
    """The first row set aside by `rule`, in words: its number, and what stands in the column that the rule is about; of
    no customer, as the line goes to logs and alerts.
    """
    first = f"select source_row, row from read_parquet({literal(quarantine)}) where reason = ? order by 1 limit 1"
    number, row = connection.execute(first, [rule.code]).fetchone() or (None, "{}")
    where = "a row" if number is None else f"row {number}"
    value = json.loads(row).get(rule.subject) if rule.subject in SHOWN else None
    return where if value is None else f"{where}, {str(value)[:LONGEST_EXAMPLE]!r}"


def _require_known(reasons: tuple[str, ...], rules: list[RowRule]) -> None:
    codes = [rule.code for rule in rules]
    if unknown := [reason for reason in reasons if reason not in codes]:
        raise ConfigurationError(
            f"validation.expected_reasons has {unknown[0]!r}, which is no reason here: it can have {', '.join(codes)}"
        )
