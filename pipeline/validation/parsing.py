"""From a staged night's texts to typed columns and a verdict on every row, as one SQL query."""

from collections.abc import Collection, Mapping

from pipeline.engine import literal, quoted
from pipeline.nights import Night
from pipeline.sources.contract import CORE_TEXTS, Kind
from pipeline.validation.rules import CONFLICT, RowRule

UNIT, NOTHING = "chr(31)", "chr(30)"  # ASCII's own separators: they part the values of a row, and stand for null
DEFAULT_TYPE = "event"


def judged(
    staged: str, mapped: Collection[str], attributes: Mapping[str, Kind], night: Night, rules: list[RowRule]
) -> str:
    """The rows of the relation `staged`: `row`, `unreadable`, each mapped column as text under `text_<name>`, every
    column of an event (times without zone, in UTC), and `reason`: the code of the first rule broken, or null.
    """
    cases = " ".join(f"when {rule.predicate} then {literal(rule.code)}" for rule in rules)
    first = f"select *, case {cases} end as reason from ({_parsed(staged, mapped, attributes, night)})"
    if "event_id" not in mapped:
        return first
    # Only a correction has the same event id and another known time, so rows that share both must agree.
    key = "event_id, known_time" if "known_time" in mapped else "event_id"
    names = [*_plain(CORE_TEXTS), *attributes]
    content = f"hash(row({', '.join(quoted(name) for name in names)}))"
    alike = f"over (partition by {key}, reason is null)"
    conflict = f"reason is null and min({content}) {alike} <> max({content}) {alike}"
    return f"""
        select * exclude (reason, event_id_conflict),
            case when {CONFLICT.predicate} then {literal(CONFLICT.code)} else reason end as reason
        from (select *, {conflict} as event_id_conflict from ({first}))
    """


def event_columns(attributes: Mapping[str, Kind]) -> str:
    """The columns of an event, of the event store's types, selected from `judged`."""
    times = [f"{name} at time zone 'UTC' as {name}" for name in ("event_time", "known_time")]
    own = ["event_id", "customer_id", *times, "event_type", "amount", "quantity", "false as deleted"]
    return ", ".join([*own, *(quoted(name) for name in attributes)])


def source_row(mapped: Collection[str]) -> str:
    """A row as the source gave it, as JSON, selected from `judged`."""
    fields = ["'unreadable', unreadable", *(f"{literal(name)}, {quoted(f'text_{name}')}" for name in mapped)]
    return f"json_object({', '.join(fields)})::varchar"


def _parsed(staged: str, mapped: Collection[str], attributes: Mapping[str, Kind], night: Night) -> str:
    texts = [f"{quoted(name)} as {quoted(f'text_{name}')}" for name in mapped]
    typed = {
        "event_id": _text("event_id") if "event_id" in mapped else _made_id(mapped),
        "customer_id": _text("customer_id"),
        "event_time": _time("event_time"),
        "known_time": _known_time(mapped, night),
        "event_type": _text("event_type") if "event_type" in mapped else literal(DEFAULT_TYPE),
        **{name: _number(name) if name in mapped else "null::double" for name in ("amount", "quantity")},
        **{name: _number(name) if kind == "numeric" else _text(name) for name, kind in attributes.items()},
    }
    columns = ", ".join([*texts, *(f"{expression} as {quoted(name)}" for name, expression in typed.items())])
    end = f"{_moment(night)} as night_end"
    return f"select row, unreadable, {end}, {columns} from {staged} as staged"


def _text(name: str) -> str:
    return f"nullif(trim(staged.{quoted(name)}), '')"


def _number(name: str) -> str:
    return f"try_cast({_text(name)} as double)"


def _time(name: str) -> str:
    return f"try_cast({_text(name)} as timestamptz) at time zone 'UTC'"


def _known_time(mapped: Collection[str], night: Night) -> str:
    """Where the source has no arrival column: the night's end; for the history before the first night, the end of the
    event's own day.
    """
    if "known_time" in mapped:
        return _time("known_time")
    if night.start is None:
        return f"date_trunc('day', {_time('event_time')}) + interval 1 day"
    return _moment(night)


def _moment(night: Night) -> str:
    """The night's end, as an SQL timestamp without zone, in UTC."""
    return f"timestamp '{night.end:%Y-%m-%d %H:%M:%S}'"


def _made_id(mapped: Collection[str]) -> str:
    """The digest of what the row says, and its occurrence number among the night's rows that say the same."""
    said = ", ".join(f"coalesce(staged.{quoted(name)}, {NOTHING})" for name in mapped if name != "known_time")
    digest = f"md5(concat_ws({UNIT}, {said}))"
    return f"{digest} || '-' || row_number() over (partition by {digest} order by row)"


def _plain(names: Collection[str]) -> list[str]:
    return [name for name in names if name not in {"event_id", "known_time"}]
