"""Examples: who is asked about at which cutoff, what they could be known by, and what happened next. Ibis expressions.

Every expression starts from `events`, the revisions known as of some moment: an event's columns and `superseded_time`,
the known time of the revision that replaced it, or null. A revision is visible at a cutoff if its event time is before
the cutoff, it was known by then, and nothing had replaced it by then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.grid import Grid
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


def eligible(events: ir.Table, cutoffs: Sequence[datetime], question: Question) -> ir.Table:
    """`customer_id, cutoff`: customers with a visible event in `[cutoff - active_within, cutoff)`."""
    grid = ibis.memtable(
        {
            "cutoff": list(cutoffs),
            "active_from": [cutoff - timedelta(days=question.active_within) for cutoff in cutoffs],
        },
        schema={"cutoff": "timestamp('UTC', 6)", "active_from": "timestamp('UTC', 6)"},
    )
    # An inequality join alone: narrowed to two columns first, so that the wide rows are never multiplied.
    slim = events.select("customer_id", "event_time", "known_time", "superseded_time", "deleted")
    pairs = slim.join(grid, [slim.event_time < grid.cutoff, slim.event_time >= grid.active_from])
    return pairs.filter(visible(pairs, pairs.cutoff)).select("customer_id", "cutoff").distinct()


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
    """`customer_id, cutoff`, and for each horizon `churn_H, purchases_H, spend_H` over `[cutoff, cutoff + H days)`.

    `events` are read as of `labelled_until`. Where a horizon ends after that, its labels are null. A purchase is an
    event with an amount; spend is the sum of amounts.
    """
    known = current(events)
    end = examples.cutoff + ibis.interval(days=max(question.horizons))
    pairs = examples.left_join(
        known,
        [examples.customer_id == known.customer_id, known.event_time >= examples.cutoff, known.event_time < end],
    )
    measures: dict[str, ir.Value] = {}
    for days in question.horizons:
        horizon = ibis.interval(days=days)
        closed = pairs.cutoff + horizon <= ibis.literal(labelled_until, "timestamp('UTC', 6)")
        within = pairs.event_time.notnull() & (pairs.event_time < pairs.cutoff + horizon)
        bought = within & pairs.amount.notnull()
        happened, purchases = within.ifelse(1, 0).max(), bought.ifelse(1, 0).sum()
        spend = bought.ifelse(pairs.amount.cast(MONEY), ibis.literal(0).cast(MONEY)).sum()
        observed = closed.ifelse(1, 0).max() == 1
        measures[f"churn_{days}"] = observed.ifelse((1 - happened).cast("float64"), ibis.null("float64"))
        measures[f"purchases_{days}"] = observed.ifelse(purchases.cast("float64"), ibis.null("float64"))
        measures[f"spend_{days}"] = observed.ifelse(spend.cast("float64"), ibis.null("float64"))
    return pairs.group_by(["customer_id", "cutoff"]).aggregate(**measures)
