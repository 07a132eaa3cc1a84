"""Examples: who is asked about at which cutoff, what they could be known by, and what happened next. Ibis expressions.

Every expression starts from `events`, the revisions known as of some moment: an event's columns and `superseded_time`,
the known time of the revision that replaced it, or null. A revision is visible at a cutoff if its event time is before
the cutoff, it was known by then, and nothing had replaced it by then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.aggregates.grid import SECONDS_A_DAY, Grid
from features.question import Question

MONEY = (
    "decimal(18, 4)"  # sums of floats depend on the engine's thread order in their last bit; sums of decimals do not
)


def visible(events: ir.Table, cutoff: ir.Value) -> ir.BooleanValue:
    """Whether a revision counts at `cutoff`: event time < cutoff, known time <= cutoff, not yet replaced or deleted."""
    return (
        (events.event_time < cutoff)
        & (events.known_time <= cutoff)
        & (events.superseded_time.isnull() | (events.superseded_time > cutoff))
        & ~events.deleted
    )


def current(events: ir.Table) -> ir.Table:
    """The events as they are known at the moment that `events` was read as of."""
    return events.filter(events.superseded_time.isnull() & ~events.deleted)


def included(events: ir.Table, question: Question) -> ir.Table:
    """The revisions without those that the question excludes: their customers, event types and values.

    Raises ValueError where it excludes values of something that is no attribute.
    """
    left_out = {"customer_id": question.exclude_customers, "event_type": question.exclude_types}
    for name, values in {**left_out, **question.exclude_values}.items():
        if name not in events.columns:
            raise ValueError(f"question.exclude_values names {name!r}, which is no attribute of the events")
        if values:
            events = events.filter(~events[name].isin(values).fill_null(False))
    return events


def is_activity(events: ir.Table, question: Question) -> ir.BooleanValue:
    """Whether an event is activity: of a type of `activity`, or without such of any but those of `ends_with`."""
    if question.activity:
        return events.event_type.isin(question.activity).fill_null(False)
    return ~ends(events, question)


def comes_back(events: ir.Table, question: Question) -> ir.BooleanValue:
    """Whether an event in the horizon is no churn: of a type of `comes_back_with`, or without such activity."""
    if question.comes_back_with:
        return events.event_type.isin(question.comes_back_with).fill_null(False)
    return is_activity(events, question)


def ends(events: ir.Table, question: Question) -> ir.BooleanValue:
    """Whether an event ends its customer."""
    if not question.ends_with:
        return ibis.literal(False)
    return events.event_type.isin(question.ends_with).fill_null(False)


def eligible(events: ir.Table, cutoffs: Sequence[datetime], question: Question) -> ir.Table:
    """`customer_id, cutoff`: customers with visible activity in `[cutoff - active_within, cutoff)`, and no event that
    ends them at or after the second of its last.
    """
    grid = ibis.memtable(
        {
            "cutoff": list(cutoffs),
            "active_from": [cutoff - timedelta(days=question.active_within) for cutoff in cutoffs],
        },
        schema={"cutoff": "timestamp('UTC', 6)", "active_from": "timestamp('UTC', 6)"},
    )
    # An inequality join alone: narrowed to few columns first, so that the wide rows are never multiplied.
    slim = events.select("customer_id", "event_time", "known_time", "superseded_time", "deleted", "event_type")
    if question.counts_every_event:
        slim = slim.drop("event_type")
    pairs = slim.join(grid, [slim.event_time < grid.cutoff, slim.event_time >= grid.active_from])
    pairs = pairs.filter(visible(pairs, pairs.cutoff))
    if question.counts_every_event:
        return pairs.select("customer_id", "cutoff").distinct()
    second = pairs.event_time.epoch_seconds().cast("int64")
    found = pairs.group_by(["customer_id", "cutoff"]).aggregate(
        active=second.max(where=is_activity(pairs, question)), ended=second.max(where=ends(pairs, question))
    )
    return found.filter(found.active.notnull() & ~(found.ended >= found.active).fill_null(False)).select(
        "customer_id", "cutoff"
    )


def out_of_turn(events: ir.Table, cutoffs: Sequence[datetime]) -> ir.Table:
    """`customer_id, cutoff` wherever what was visible at the cutoff is not simply every current event before it.

    So it is where an event before the cutoff was known only after it, or was corrected or deleted after it.
    """
    ascending = sorted(cutoffs)
    grid = Grid(tuple(ascending))
    slim = events.select("customer_id", "event_time", "known_time", "superseded_time", "deleted")
    # Almost every event is known before the first cutoff after it: those never meet the cutoffs.
    late = grid.segment(slim.event_time) < grid.segment(slim.known_time, boundary_itself=False)
    odd = slim.filter(~slim.deleted & (slim.superseded_time.notnull() | late))
    moments = ibis.memtable({"cutoff": ascending}, schema={"cutoff": "timestamp('UTC', 6)"})
    pairs = odd.join(moments, odd.event_time < moments.cutoff)
    apart = visible(pairs, pairs.cutoff) != pairs.superseded_time.isnull()
    return pairs.filter(apart).select("customer_id", "cutoff").distinct()


def history(events: ir.Table, examples: ir.Table) -> ir.Table:
    """One row for each example and event visible at its cutoff: the event's columns and `cutoff`."""
    pairs = events.join(examples, [events.customer_id == examples.customer_id, events.event_time < examples.cutoff])
    return pairs.filter(visible(pairs, pairs.cutoff)).drop("customer_id_right")


def labels(events: ir.Table, examples: ir.Table, question: Question, labelled_until: datetime) -> ir.Table:
    """`customer_id, cutoff`, and for each horizon `churn_H, purchases_H, spend_H` over `[cutoff + gap, cutoff + gap +
    H days)`; `next_event_days, next_event_type` where asked for.

    `events` are read as of `labelled_until`. Where a horizon ends after that, its labels are null. Churn is not
    coming back, or an event that ends the customer where the question names one; it is null for who ended within the
    gap. A purchase is coming back with an amount; spend is the sum of amounts.
    """
    known = current(events)
    relevant = known.select("customer_id", "event_time", "event_id", "event_type", "amount").mutate(
        back=comes_back(known, question), ends=ends(known, question)
    )
    over = examples.cutoff + ibis.interval(days=question.longest_reach)
    pairs = examples.left_join(
        relevant,
        [
            examples.customer_id == relevant.customer_id,
            relevant.event_time >= examples.cutoff,
            relevant.event_time < over,
            relevant.back | relevant.ends,
        ],
    )
    until = ibis.literal(labelled_until, "timestamp('UTC', 6)")
    begin = pairs.cutoff + ibis.interval(days=question.gap)
    measures: dict[str, ir.Value] = {}
    for days in question.horizons:
        end = pairs.cutoff + ibis.interval(days=question.gap + days)
        within = pairs.event_time.notnull() & (pairs.event_time >= begin) & (pairs.event_time < end)
        back = within & pairs.back
        bought = back & pairs.amount.notnull()
        churn = 1 - back.ifelse(1, 0).max()
        observed = (end <= until).ifelse(1, 0).max() == 1
        churn_observed = observed
        if question.ends_with:
            churn = (within & pairs.ends).ifelse(1, 0).max()
            gone = pairs.event_time.notnull() & (pairs.event_time < begin) & pairs.ends
            churn_observed = observed & (gone.ifelse(1, 0).max() == 0)
        spend = bought.ifelse(pairs.amount.cast(MONEY), ibis.literal(0).cast(MONEY)).sum()
        null = ibis.null("float64")
        measures[f"churn_{days}"] = churn_observed.ifelse(churn.cast("float64"), null)
        measures[f"purchases_{days}"] = observed.ifelse(bought.ifelse(1, 0).sum().cast("float64"), null)
        measures[f"spend_{days}"] = observed.ifelse(spend.cast("float64"), null)
    found = pairs.group_by(["customer_id", "cutoff"]).aggregate(**measures)
    if not question.next_event:
        return found
    following = pairs.filter(pairs.event_time.notnull() & (pairs.event_time >= begin) & pairs.back)
    in_order = ibis.window(group_by=["customer_id", "cutoff"], order_by=["event_time", "event_id"])
    place = following.mutate(place=ibis.row_number().over(in_order))
    first = place.filter(place.place == 0)
    opened = first.cutoff.epoch_seconds().cast("int64") + question.gap * SECONDS_A_DAY
    first = first.select(
        "customer_id",
        "cutoff",
        next_event_days=(first.event_time.epoch_seconds().cast("int64") - opened) / SECONDS_A_DAY,
        next_event_type=first.event_type,
    )
    joined = found.left_join(first, ["customer_id", "cutoff"])
    return joined.select(*found.columns, "next_event_days", "next_event_type")
