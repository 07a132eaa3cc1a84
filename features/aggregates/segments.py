"""Sums of events by customer and segment of the grid: all that the aggregates and labels of a shared history need. Ibis
expressions.

An event is looked at once, however many cutoffs and windows ask about it. `features.aggregates.from_segments` adds
segments up.
"""

from collections.abc import Mapping
from datetime import datetime

import ibis
import ibis.expr.types as ir

from features.aggregates.definitions import named
from features.aggregates.grid import SECONDS_A_DAY, Grid
from features.examples import MONEY, current

NO_MORE = 1 << 30  # the segment of the event after the last


def by_segment(events: ir.Table, grid: Grid, attributes: Mapping[str, str]) -> ir.Table:
    """One row for each customer and segment that holds a current event, in their order: sums and extremes over it.

    `amount_last` and `gap_last` are of the segment's last event; a gap counts in the segment of the event that ends it.
    Money is summed over decimals, so that the same rows give the same bits whatever the engine's threads do.
    """
    measured = ["amount", "quantity", *named(attributes, "numeric")]
    known = _known(events, grid)
    steps = known.select(
        "customer_id",
        "event_time",
        "event_id",
        segment=grid.segment(known.event_time),
        second=known.event_time.epoch_seconds().cast("int64"),
        **{name: known[name].cast(MONEY) for name in measured},
    )
    in_order = ibis.window(group_by="customer_id", order_by=["event_time", "event_id"])
    steps = steps.mutate(
        previous=steps.second.lag().over(in_order),
        following=ibis.coalesce(steps.segment.lead().over(in_order), ibis.literal(NO_MORE, "int32")),
    )
    steps = steps.mutate(gap=steps.second - steps.previous)
    new_day = steps.previous.isnull() | (steps.second // SECONDS_A_DAY != steps.previous // SECONDS_A_DAY)
    last = steps.following > steps.segment
    sums = {f"sum_{name}": steps[name].sum().cast(MONEY) for name in measured}
    latest = {f"latest_{name}": steps.second.max(where=steps[name] > 0) for name in named(attributes, "numeric")}
    rows = steps.group_by(["customer_id", "segment"]).aggregate(
        events=steps.count(),
        purchases=steps.amount.count(),
        first=steps.second.min(),
        last=steps.second.max(),
        active_days=new_day.ifelse(1, 0).sum().cast("int64"),
        amount_max=steps.amount.max().cast("float64"),
        amount_last=steps.amount.max(where=last).cast("float64"),
        gap_last=steps.gap.max(where=last),
        gap_max=steps.gap.max(),
        gap_squares=(steps.gap * steps.gap).sum().cast("int64"),
        **sums,
        **latest,
    )
    return rows.order_by(["customer_id", "segment"])


def values_by_segment(events: ir.Table, grid: Grid, attribute: str) -> ir.Table:
    """`customer_id, segment, following`: one row for each value of a categorical attribute that a segment holds, and
    the segment where the customer's next event with that value lies.
    """
    known = _known(events, grid)
    steps = known.filter(known[attribute].notnull())
    held = steps.select("customer_id", segment=grid.segment(steps.event_time), value=steps[attribute]).distinct()
    in_order = ibis.window(group_by=["customer_id", "value"], order_by="segment")
    following = ibis.coalesce(held.segment.lead().over(in_order), ibis.literal(NO_MORE, "int32"))
    return held.select("customer_id", "segment", following=following)


def before(events: ir.Table, moment: datetime) -> ir.Table:
    """The current events with event time < `moment`."""
    return current(events).filter(events.event_time < ibis.literal(moment, "timestamp('UTC', 6)"))


def _known(events: ir.Table, grid: Grid) -> ir.Table:
    return before(events, grid.boundaries[-1])
