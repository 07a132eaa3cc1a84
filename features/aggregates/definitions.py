"""The aggregates view: an example as one row of numbers, each with its definition in words. Ibis expressions.

All lengths of time are days; windows are `[cutoff - N days, cutoff)`. A feature that is undefined for a customer (the
mean gap of a single event) is null, never a made-up number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from features.aggregates import calendar, comparisons
from features.aggregates.grid import SECONDS_A_DAY
from features.examples import MONEY, history, is_activity
from features.question import Question

WINDOWS = (7, 14, 28, 56, 91)
ATTRIBUTE_WINDOWS = (28, 91)


def definitions(
    numeric: Sequence[str],
    categorical: Sequence[str],
    question: Question = Question(),  # noqa: B008 (frozen)
) -> dict[str, str]:
    """Every feature's definition in words, in the order of the columns, for these attributes and this question."""
    words = {
        "days_since_last_event": "days from the last event to the cutoff",
        "days_since_first_event": "days from the first event to the cutoff",
        "events_total": "number of events",
        "active_days_total": "number of different UTC days with an event",
        "amount_total": "sum of amounts",
        "amount_mean": "mean amount of the events that have one",
        "amount_max": "largest amount",
        "amount_last": "amount of the last event",
        "gap_mean": "mean number of days between consecutive events",
        "gap_std": "standard deviation (of the population) of the days between consecutive events",
        "gap_max": "longest gap between consecutive events, in days",
        "gap_last": "days between the last two events",
        "amount_mean_91": "mean amount of the events of the last 91 days that have one",
    }
    for days in WINDOWS:
        words[f"events_{days}"] = f"number of events in the last {days} days"
        words[f"amount_{days}"] = f"sum of amounts in the last {days} days"
    for days in ATTRIBUTE_WINDOWS:
        words[f"quantity_{days}"] = f"sum of quantities in the last {days} days"
    words |= comparisons.WORDS
    for name in numeric:
        for days in ATTRIBUTE_WINDOWS:
            words[f"{name}_{days}"] = f"sum of {name} in the last {days} days"
        words[f"days_since_{name}"] = f"days from the last event with {name} above 0 to the cutoff"
    for name in categorical:
        words[f"distinct_{name}_91"] = f"number of different values of {name} in the last 91 days"
    if question.types:
        words["days_since_activity"] = "days from the last activity, as the question means it, to the cutoff"
    for name in question.types:
        words[f"days_since_event_type={name}"] = f"days from the last event of the type {name} to the cutoff"
        for days in ATTRIBUTE_WINDOWS:
            words[f"event_type={name}_{days}"] = f"number of events of the type {name} in the last {days} days"
    if question.calendar:
        words |= calendar.WORDS
    return words


def named(attributes: Mapping[str, str], kind: str) -> list[str]:
    """The attributes of one kind, in their order."""
    return [name for name, its_kind in attributes.items() if its_kind == kind]


def squared_spread(gaps: Any, squares: Any, whole: Any) -> Any:
    """`gaps * squares - whole**2`: the variance of so many gaps, times their number squared, from the sum of their
    squares and their sum, all integers: arrays or columns.

    The difference is taken in halves of 32 bits, where no product passes 64: between two floats it would be lost for
    events that come almost evenly.
    """
    low, square = 2**32 - 1, whole * whole
    return (gaps * (squares >> 32) - (square >> 32)) * 2.0**32 + (gaps * (squares & low) - (square & low))


def aggregates(events: ir.Table, examples: ir.Table, attributes: Mapping[str, str], question: Question) -> ir.Table:
    """`customer_id, cutoff` and a float64 column for each of `definitions`, over the events visible at each cutoff, but
    for those that `features.aggregates.comparisons` makes of them and those of `features.aggregates.calendar`.

    `attributes` maps an attribute's name to `numeric` or `categorical`. Sums run over decimals and integers only, so
    that the same rows give the same bits whatever the engine's threads do.
    """
    numeric, categorical = named(attributes, "numeric"), named(attributes, "categorical")
    keys = ["customer_id", "cutoff"]
    # All arithmetic on a single event or a single cutoff comes before the join, which multiplies the rows.
    exact = events.mutate(
        second=events.event_time.epoch_seconds().cast("int64"),
        **{name: events[name].cast(MONEY) for name in ("amount", "quantity", *numeric)},
    )
    asked = examples.mutate(
        cutoff_second=examples.cutoff.epoch_seconds().cast("int64"),
        **{f"from_{days}": examples.cutoff - ibis.interval(days=days) for days in WINDOWS},
    )
    seen = history(exact, asked)
    # Ordering rows costs by their width: so the rhythm is found on narrow rows, and the sums without order.
    rows = _rhythm(seen).join(_sums(seen, numeric, categorical, question), keys)
    later = {**comparisons.WORDS, **calendar.WORDS}
    columns = [name for name in definitions(numeric, categorical, question) if name not in later]
    return rows.select(*keys, **{name: rows[name].cast("float64") for name in columns})


def _rhythm(seen: ir.Table) -> ir.Table:
    """The features that depend on the order of events: recency, gaps, the last amount."""
    keys = ["customer_id", "cutoff"]
    steps = seen.select(*keys, "event_id", "event_time", "amount", "second", "cutoff_second")
    in_order = ibis.window(group_by=keys, order_by=["event_time", "event_id"])
    steps = steps.mutate(previous=steps.second.lag().over(in_order), following=steps.second.lead().over(in_order))
    steps = steps.mutate(gap=steps.second - steps.previous)
    new_day = steps.previous.isnull() | (steps.second // SECONDS_A_DAY != steps.previous // SECONDS_A_DAY)
    last = steps.following.isnull()
    rows = steps.group_by(keys).aggregate(
        days_since_last_event=(steps.cutoff_second - steps.second).min() / SECONDS_A_DAY,
        days_since_first_event=(steps.cutoff_second - steps.second).max() / SECONDS_A_DAY,
        active_days_total=new_day.ifelse(1, 0).sum(),
        amount_last=steps.amount.max(where=last),
        gap_last=steps.gap.max(where=last) / SECONDS_A_DAY,
        gap_max=steps.gap.max() / SECONDS_A_DAY,
        gaps=steps.gap.count().nullif(0),
        gap_sum=steps.gap.sum().cast("int64"),
        gap_squares=(steps.gap * steps.gap).sum().cast("int64"),
    )
    return rows.mutate(
        gap_mean=rows.gap_sum.cast("float64") / rows.gaps / SECONDS_A_DAY,
        gap_std=squared_spread(rows.gaps, rows.gap_squares, rows.gap_sum).sqrt() / rows.gaps / SECONDS_A_DAY,
    )


def _sums(seen: ir.Table, numeric: Sequence[str], categorical: Sequence[str], question: Question) -> ir.Table:
    """The features that do not depend on order: counts, sums, the last time of an attribute or a type."""
    bought = _sum_within(seen, "amount", 91) / seen.amount.count(where=_within(seen, 91)).nullif(0)
    measures: dict[str, ir.Value] = {
        "events_total": seen.count(),
        "amount_total": seen.amount.sum().cast("float64").fill_null(0.0),
        "amount_mean": seen.amount.sum().cast("float64") / seen.amount.count().nullif(0),
        "amount_max": seen.amount.max(),
        "amount_mean_91": bought,
    }
    for days in WINDOWS:
        measures[f"events_{days}"] = seen.count(where=_within(seen, days))
        measures[f"amount_{days}"] = _sum_within(seen, "amount", days)
    for days in ATTRIBUTE_WINDOWS:
        measures |= {f"{name}_{days}": _sum_within(seen, name, days) for name in ("quantity", *numeric)}
    for name in numeric:
        measures[f"days_since_{name}"] = _days_since(seen, seen[name] > 0)
    for name in categorical:
        measures[f"distinct_{name}_91"] = seen[name].nunique(where=_within(seen, 91))
    if question.types:
        measures["days_since_activity"] = _days_since(seen, is_activity(seen, question))
    for name in question.types:
        its = (seen.event_type == name).fill_null(False)
        measures[f"days_since_event_type={name}"] = _days_since(seen, its)
        for days in ATTRIBUTE_WINDOWS:
            measures[f"event_type={name}_{days}"] = seen.count(where=its & _within(seen, days))
    return seen.group_by(["customer_id", "cutoff"]).aggregate(**measures)


def _days_since(seen: ir.Table, which: ir.BooleanValue) -> ir.Value:
    return (seen.cutoff_second.max() - seen.second.max(where=which)) / SECONDS_A_DAY


def _within(seen: ir.Table, days: int) -> ir.BooleanValue:
    # By time itself, not by whole seconds: an event half a second before the window's start is outside it.
    return seen.event_time >= seen[f"from_{days}"]


def _sum_within(seen: ir.Table, column: str, days: int) -> ir.Value:
    return seen[column].sum(where=_within(seen, days)).cast("float64").fill_null(0.0)
