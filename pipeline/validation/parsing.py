"""From a staged night's texts to typed columns and a verdict on every row, as one SQL query."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.source import LINES, Source
from pipeline.runtime.engine import literal, quoted
from pipeline.runtime.nights import Night
from pipeline.sources.contract import Kind
from pipeline.sources.expressions import row_digest, sql_moment
from pipeline.validation.rules import CONFLICT, RowRule

CONTENT = ("customer_id", "event_time", "event_type", "amount", "quantity")
YES, NO = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
SHOWN = ("event_time", "known_time", "event_type", "amount", "quantity", "unit_price", "deleted")
"""The columns whose values an example may show."""
MONEY = "decimal(18, 4)"  # sums of decimals do not depend on the order in which threads come to them


@dataclass(frozen=True)
class StagedNight:
    """The staged rows of a night: an SQL relation, the columns that the source maps, the kinds of the attributes among
    them, and how the source is described.
    """

    relation: str
    columns: Collection[str]
    attributes: Mapping[str, Kind]
    night: Night
    source: Source


def judged(staged: StagedNight, rules: list[RowRule]) -> str:
    """The staged rows: `row`, `unreadable`, each mapped column as text under `text_<name>`, every column of an event
    (times without zone, in UTC), and `reason`: the code of the first rule broken, or null.
    """
    rows = reasoned(staged, rules)
    if "event_id" not in staged.columns:
        return rows
    # Only a correction has the same event id and another known time, so rows that share both must agree.
    key = "event_id, known_time" if "known_time" in staged.columns else "event_id"
    of_lines = staged.source.rows_are == "lines"
    names = ["customer_id", "event_type"] if of_lines else [*CONTENT, *staged.attributes]
    # A row that takes its event back need not repeat what the event was.
    content = f"case when not deleted then hash(row({', '.join(quoted(name) for name in names)})) end"
    # Ids are compared by their digests first, which costs a fraction: few ids, or none, come twice.
    digest = f"hash({_text('event_id')})"
    twice = f"select {digest} from {staged.relation} as staged group by 1 having count(*) > 1"
    repeated = f"select * from ({rows}) where reason is null and hash(event_id) in ({twice})"
    differing = f"select hash({key}) from ({repeated}) group by {key} having min({content}) <> max({content})"
    conflict = f"reason is null and not deleted and hash({key}) in ({differing})"
    return f"""
        select * exclude (reason, event_id_conflict),
            case when {CONFLICT.predicate} then {literal(CONFLICT.code)} else reason end as reason
        from (select *, {conflict} as event_id_conflict from ({rows}))
    """


def reasoned(staged: StagedNight, rules: list[RowRule]) -> str:
    """The same, each row judged by itself."""
    cases = " ".join(f"when {rule.predicate} then {literal(rule.code)}" for rule in rules)
    return f"select *, case {cases} end as reason from ({_parsed(staged)})"


def events(judged: str, attributes: Mapping[str, Kind], source: Source) -> str:
    """The accepted events among `judged`, with the event store's columns and types; `said_time`, where the source says
    when a row arrived: the arrival by its account, which is earlier than the known time of a row that came late; and
    `source_rows`: how many of the source's rows make up each event.
    """
    accepted = f"(select * from {judged} where reason is null)"
    moments = ("event_time", "known_time", *(["said_time"] if "known_time" in source.names else []))
    times = [f"{name} at time zone 'UTC' as {name}" for name in moments]
    own = ["event_id", "customer_id", *times, "event_type", "amount", "quantity", "deleted"]
    columns = ", ".join([*own, *(quoted(name) for name in attributes), "source_rows"])
    if source.rows_are == "lines":
        return f"select {columns} from ({_grouped(accepted, attributes, moments[1:])})"
    return f"select {columns} from (select *, 1 as source_rows from {accepted})"


def _grouped(lines: str, attributes: Mapping[str, Kind], arrivals: Sequence[str]) -> str:
    """The lines of each event as one row. They agree on its customer and type, or `CONFLICT` set them aside. Deleted
    lines do not count; an event all of whose lines are deleted is deleted itself.
    """
    summed = ["amount", "quantity", *(name for name, kind in attributes.items() if kind == "numeric" and name != LINES)]
    texts = [name for name, kind in attributes.items() if kind == "categorical"]
    current = "filter (not deleted)"
    measures = [
        "any_value(customer_id) as customer_id",
        "any_value(event_type) as event_type",
        f"coalesce(min(event_time) {current}, min(event_time)) as event_time",
        *(f"max({name}) as {name}" for name in arrivals),
        "count(*) as source_rows",
        "bool_and(deleted) as deleted",
        f"(count(*) {current})::double as {LINES}",
        *(f"(sum({quoted(name)}::{MONEY}) {current})::double as {quoted(name)}" for name in summed),
        *(f"arg_min({quoted(name)}, row) {current} as {quoted(name)}" for name in texts),
    ]
    return f"select event_id, {', '.join(measures)} from {lines} group by event_id"


def source_row(mapped: Collection[str]) -> str:
    """A row as the source gave it, as JSON, selected from `judged`."""
    fields = ["'unreadable', unreadable", *(f"{literal(name)}, {quoted(f'text_{name}')}" for name in mapped)]
    return f"json_object({', '.join(fields)})::varchar"


def _parsed(staged: StagedNight) -> str:
    columns = staged.columns
    texts = [f"{quoted(name)} as {quoted(f'text_{name}')}" for name in columns]
    typed = {
        "event_id": _text("event_id") if "event_id" in columns else _made_id(columns),
        "customer_id": _text("customer_id"),
        "event_time": _time("event_time"),
        "known_time": _known_time(columns, staged.night),
        "event_type": _text("event_type") if "event_type" in columns else _made_type(staged.source),
        **{name: _number(name) if name in columns else "null::double" for name in ("amount", "quantity")},
        "deleted": _flag("deleted") if "deleted" in columns else "false",
        **{name: _number(name) if kind == "numeric" else _text(name) for name, kind in staged.attributes.items()},
    }
    if "known_time" in columns:
        typed["said_time"] = _time("known_time")
    if "unit_price" in columns:
        typed["unit_price"] = _number("unit_price")
        typed["amount"] = f"round({_number('quantity')} * {_number('unit_price')}, 4)"
    selected = ", ".join([*texts, *(f"{expression} as {quoted(name)}" for name, expression in typed.items())])
    end = f"{sql_moment(staged.night.end)} as night_end"
    return f"select row, unreadable, {end}, {selected} from {staged.relation} as staged"


def _text(name: str) -> str:
    return f"nullif(trim(staged.{quoted(name)}), '')"


def _number(name: str) -> str:
    return f"try_cast({_text(name)} as double)"


def _flag(name: str) -> str:
    """Whether a yes or a no is written, or a time, which means yes; null where neither is."""
    text = f"lower({_text(name)})"
    return (
        f"case when {text} is null or {text} in ({', '.join(map(literal, NO))}) then false "
        f"when {text} in ({', '.join(map(literal, YES))}) or try_cast({text} as timestamptz) is not null then true end"
    )


def _made_type(source: Source) -> str:
    cases = "".join(
        f"when starts_with({_text(kind.column)}, {literal(kind.starts_with)}) then {literal(kind.name)} "
        for kind in source.event_types
    )
    default = literal(source.default_event_type)
    return f"case {cases}else {default} end" if cases else default


def _time(name: str) -> str:
    """A time that the source could read, which then ends in UTC's offset; null for others."""
    text = f"staged.{quoted(name)}"
    return f"case when ends_with({text}, '+00') then try_cast({text} as timestamptz) at time zone 'UTC' end"


def _known_time(mapped: Collection[str], night: Night) -> str:
    """The arrival column, or the night's end for what came late by it. Where the source has none: the night's end; for
    the history before the first night, the end of the event's own day.
    """
    if "known_time" in mapped:
        if night.start is None:
            return _time("known_time")
        # What arrived by the source's account before this night, and came only now, was not known before.
        return (
            f"case when {_time('known_time')} <= {sql_moment(night.start)} then {sql_moment(night.end)} "
            f"else {_time('known_time')} end"
        )
    if night.start is None:
        return f"date_trunc('day', {_time('event_time')}) + interval 1 day"
    return sql_moment(night.end)


def _made_id(mapped: Collection[str]) -> str:
    """The digest of the row, and its number among equal rows: those of earlier nights, which the source counts, come
    first. Where the source says when a row arrived, one that arrives again is the same event.
    """
    digest = row_digest(f"staged.{quoted(name)}" for name in mapped if name != "known_time")
    equal = f"{digest}, staged.known_time" if "known_time" in mapped else digest
    return f"{digest} || '-' || (staged.earlier + row_number() over (partition by {equal} order by row))"
