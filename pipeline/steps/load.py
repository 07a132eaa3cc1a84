"""The third step of a night: its accepted events into the event store, less what is already known."""

from datetime import date

import duckdb
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.event_store.id_index import objects_with
from pipeline.event_store.objects import FrequentValues, noted_values, scan
from pipeline.event_store.revisions import in_order
from pipeline.event_store.store import ORDER, EventStore, open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.described import remove, whole
from pipeline.runtime.engine import literal, quoted, session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.runtime.paths import StateFolder
from pipeline.serving.database import open_predictions
from pipeline.steps.validate import READ_AGAIN

MOST_VALUES, LEAST_SHARE, LEAST_CUSTOMERS = 8, 0.01, 5  # of the values that are told apart, and each of them
ARRIVED = """
    case when known_time < regexp_extract(filename, '([0-9-]{10})[.]parquet$', 1)::timestamp at time zone 'UTC'
    then known_time end
"""
"""SQL: when an event of the store arrived by the source's account; null where it bears the end of its night, as late
events do.
"""


def load(settings: Settings, night: Night) -> dict[str, int]:
    """Writes the night's object and the counts of its quarantine, and returns `rows_read, rows_accepted,
    rows_quarantined, rows_already_known`. An event is already known where it equals the row of its event id that was
    known before it. Loading a night twice makes the same bytes. Raises RecurError where the night was not validated,
    and where a row would be lost or gained.
    """
    predictions, state = open_predictions(settings.predictions, settings.root), settings.state
    with recorded(predictions, state, "load", night) as figures, state.alone("night"):
        quarantine = state.quarantine(night)
        for file in (state.accepted(night), quarantine, state.staged(night)):
            if not file.exists():
                raise RecurError(f"{file} does not exist: the night {night.name} was not validated; run recur ingest")
            whole(file.parent, file.name, READ_AGAIN)
        store = open_store(settings)
        store.require_whole(but=night)
        read = pq.read_metadata(state.staged(night)).num_rows
        with session(state) as connection:
            reasons = f"select reason, count(*) from read_parquet({literal(quarantine)}) group by reason"
            set_aside: dict[str, int] = dict(connection.execute(reasons).fetchall())
            connection.execute(_versions(connection, store, night, state))
            kinds = ("not repeated", "repeated", "corrects and not repeated")
            counts = ", ".join(f"coalesce(sum(source_rows) filter ({kind}), 0)" for kind in kinds)
            # Fetched to the end: the engine takes no other query while a result is open.
            [(added, already_known, corrections)] = connection.execute(f"select {counts} from versions").fetchall()
            quarantined = sum(set_aside.values())
            if read != added + quarantined + already_known:
                raise RecurError(
                    f"the night {night.name} does not add up: {read} rows read, but {added} accepted, "
                    f"{quarantined} quarantined and {already_known} already known; nothing was loaded: run recur "
                    "ingest again"
                )
            columns, order = (", ".join(quoted(name) for name in names) for names in (store.schema.names, ORDER))
            events = connection.sql(f"select {columns} from versions where not repeated order by {order}")
            frequent = _frequent_values(connection, store, night)
            store.write(night.score_date, events.to_arrow_reader(), int(corrections), frequent)
        predictions.write_quarantine(night, set_aside)
        _remove_old_rows(state, store.nights(), settings.run.keep_staged)
        outcome = {
            "rows_read": read,
            "rows_accepted": int(added),
            "rows_quarantined": quarantined,
            "rows_already_known": int(already_known),
        }
        figures.update(outcome)
        return outcome


def _frequent_values(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night) -> FrequentValues | None:
    """What to note with the night's object: where it is loaded first, of the event type and of each categorical
    attribute the values that at least one event in a hundred has, and a few customers (what tells of one is no name for
    a column), most frequent first; none for what is not.
    """
    if store.nights() not in ([], [night.score_date]):
        return noted_values(store.path(night.score_date))
    frequent = {}
    for name in ("event_type", *(name for name, kind in store.attributes.items() if kind == "categorical")):
        rows = connection.execute(
            f"select {quoted(name)} from versions where not repeated and {quoted(name)} is not null group by 1 qualify "
            f"count(*) >= {LEAST_SHARE} * sum(count(*)) over () and approx_count_distinct(customer_id) >= "
            f"{LEAST_CUSTOMERS} order by count(*) desc, 1 limit {MOST_VALUES}"
        ).fetchall()
        frequent[name] = [value for (value,) in rows]
    return frequent


def _remove_old_rows(state: StateFolder, loaded: list[date], days: int) -> None:
    """Removes the staged and accepted rows of `loaded` nights more than `days` before the last."""
    oldest = loaded[-1] - days * DAY
    old = {night.isoformat() for night in loaded if night < oldest}
    for folder in ("staged", "accepted"):
        for file in (state.path / folder).glob("????-??-??.parquet"):
            if file.stem in old:
                remove(file)


def _versions(connection: duckdb.DuckDBPyConnection, store: EventStore, night: Night, state: StateFolder) -> str:
    """A statement that makes `versions`: the night's accepted events, each with `source_rows`, `corrects` (its event id
    was known before) and `repeated` (with the same content, or a later version was known by the source's account).
    """
    file = state.accepted(night)
    accepted, columns = f"read_parquet({literal(file)})", ", ".join(quoted(name) for name in store.schema.names)
    content = ", ".join(quoted(name) for name in store.schema.names if name not in {"event_id", "known_time"})
    arrived = "said_time" if "said_time" in pq.read_schema(file).names else "known_time"
    rows = f"select {columns}, source_rows, true as is_new, {arrived} as arrived from {accepted}"
    if earlier := objects_with(store, state, connection, accepted, night.score_date):
        objects = scan(earlier, ", filename = true")
        same_id = f"event_id in (select event_id from {accepted})"
        rows += f" union all select {columns}, 0, false, {ARRIVED} from {objects} where {same_id}"
    # By their digests, which costs a fraction: where no two are equal, no id comes twice.
    [(repeats,)] = connection.execute(f"select count(*) > count(distinct hash(event_id)) from ({rows})").fetchall()
    if not repeats:
        return f"create temp view versions as select *, false as corrects, false as repeated from {accepted}"
    # A late version that is older than a known one was never the latest: it replaces nothing.
    outdated = "coalesce(arrived < known_time and arrived < max(arrived) over (partition by event_id), false)"
    before = in_order("event_id, outdated", tie="is_new")
    marked = f"""
        select * exclude (arrived), lag(event_id) {before} is not null and not outdated as corrects,
            outdated or coalesce(lag(row({content})) {before} = row({content}), false) as repeated
        from (select *, is_new and {outdated} as outdated from ({rows}))
    """
    return f"create temp table versions as select * exclude (is_new, outdated) from ({marked}) where is_new"
