"""The row rules: what makes one row unusable. One list, from which the rows are split and the night's expectations
come.

What real data hold is not bad: an amount of 0, a quantity of thousands (fuel), a negative amount (a refund), an amount
that is absent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from pipeline.runtime.engine import literal, quoted
from pipeline.sources.contract import Kind

LINE, ATTRIBUTES = "line", "attributes"
FUTURE = "event_time_in_future"


@dataclass(frozen=True)
class RowRule:
    """Rows for which `predicate` holds are set aside with `code` as their reason; where several rules hold, the first
    of the list is the reason. The predicate is SQL over the columns of `pipeline.validation.parsing`. `subject` is what
    the rule is about: a rule about a column that the source does not map is left out, and the night's expectations
    count the rows set aside by subject.
    """

    subject: str
    code: str
    description: str
    predicate: str


ROW_RULES = [
    RowRule(
        LINE,
        "unreadable",
        "the line has not the header's columns, or is not UTF-8 (source.encoding)",
        "unreadable is not null",
    ),
    RowRule("customer_id", "customer_id_missing", "no customer is named", "customer_id is null"),
    RowRule(
        "customer_id",
        "customer_id_placeholder",
        "the customer is called null, none, nan, n/a or undefined, as programs write nobody",
        "lower(customer_id) in ('null', 'none', 'nan', 'n/a', 'undefined')",
    ),
    RowRule("event_time", "event_time_missing", "no event time is given", "nullif(trim(text_event_time), '') is null"),
    RowRule(
        "event_time",
        "event_time_skipped",
        "the event time lies in the hour that the clocks of source.timezone skip",
        "event_time is null and isfinite(try_cast(text_event_time as timestamp)) "
        "and not regexp_matches(text_event_time, '[A-Za-z]{2,}$')",
    ),
    RowRule("event_time", "event_time_unreadable", "the event time cannot be read as a time", "event_time is null"),
    RowRule(
        "event_time", "event_time_before_1970", "the event time lies before 1970", "event_time < timestamp '1970-01-01'"
    ),
    RowRule(
        "event_time",
        "event_time_of_empty_clock",
        "the event time lies in January 1970: an empty clock, or seconds taken for milliseconds",
        "event_time < timestamp '1970-02-01'",
    ),
    RowRule(
        "event_time",
        FUTURE,
        "the event time lies at or after the night's end, when nobody could know of it",
        "event_time >= night_end",
    ),
    RowRule("known_time", "known_time_unreadable", "the known time is missing or unreadable", "known_time is null"),
    RowRule("event_type", "event_type_missing", "no event type is given", "event_type is null"),
    RowRule("event_id", "event_id_missing", "no event id is given", "event_id is null"),
    RowRule("deleted", "deleted_unreadable", "deleted is neither yes nor no, nor a time", "deleted is null"),
]

TEXT_RULE = RowRule(
    "{column}",
    "{column}_control_character",
    "{column} holds a tab, a line end or a null byte",
    " or ".join(f"contains({{value}}, chr({code}))" for code in (9, 10, 13, 0)),
)
"""For the texts that identify events: a broken quotation mark leaves such characters in them."""

NUMBER_RULES = [
    RowRule(
        "{column}", "{column}_unreadable", "{column} is no number", "{value} is null and nullif(trim({text}), '') <> ''"
    ),
    RowRule("{column}", "{column}_not_finite", "{column} is not finite", "not isfinite({value})"),
    RowRule("{column}", "{column}_absurd", "{column} is beyond 1,000,000,000 either way", "abs({value}) > 1e9"),
]
"""For `amount`, `quantity` and each numeric attribute."""

CONFLICT = RowRule(
    "event_id",
    "event_id_conflict",
    "several rows of the night have the same event id and known time, and differ (lines of one event: in customer or "
    "type)",
    "event_id_conflict",
)
"""Judged last, and only among the rows that pass every other rule."""


NOBODY = RowRule(
    "customer_id", "customer_id_nobody", "the customer is one of source.nobody", "lower(customer_id) in {}"
)
"""Of ids that the configuration names: expected, whatever a night has of them."""


def row_rules(mapped: Collection[str], attributes: Mapping[str, Kind], nobody: Collection[str] = ()) -> list[RowRule]:
    """The rules for a source that maps the columns `mapped` and whose ids `nobody` mean nobody, in their order,
    `CONFLICT` aside.
    """
    numbers = {name: name for name in ("amount", "quantity", "unit_price") if name in mapped}
    numbers |= {name: ATTRIBUTES for name, kind in attributes.items() if kind == "numeric"}
    rules = [rule for rule in ROW_RULES if rule.subject == LINE or rule.subject in mapped]
    if nobody:
        names = f"({', '.join(literal(name.lower()) for name in nobody)})"
        rules.insert(1, replace(NOBODY, predicate=NOBODY.predicate.format(names)))
    texts = [name for name in ("customer_id", "event_id", "event_type") if name in mapped]
    rules += [_about(column, column, TEXT_RULE) for column in texts]
    rules += [_about(column, subject, rule) for column, subject in numbers.items() for rule in NUMBER_RULES]
    if "unit_price" in mapped:  # the amount is made of two numbers that passed, and may still be too large
        rules.append(_about("amount", "unit_price", NUMBER_RULES[-1]))
    return rules


def _about(column: str, subject: str, rule: RowRule) -> RowRule:
    names = {"column": column, "value": quoted(column), "text": quoted(f"text_{column}")}
    return RowRule(subject, *(text.format(**names) for text in (rule.code, rule.description, rule.predicate)))
