"""Sums over the events of each customer and time bin: all that aggregates and labels need. One pass over sorted
columns; sums are integers (money in ten-thousandths), so that they are exact in any order.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from features.aggregates.time_bins import DayBins, TimeBins
from features.aggregates.totals import MONEY_UNITS, floats
from features.arrays import Floats, Integers, Mask
from features.roles import all_alike, is_activity, is_end, is_one_of, is_return
from features.spec import FeatureSpec
from features.time import MICROSECONDS_A_DAY, MICROSECONDS_A_SECOND, NEVER

# A sign that no attribute's name has keeps the latest second of a type apart from that of an attribute.
LATEST_ACTIVITY, LATEST_END = "latest_=activity", "latest_=end"


def sums_by_bin(
    steps: pa.Table, starts: Integers, bins: TimeBins | DayBins, spec: FeatureSpec, previous: Integers | None = None
) -> pa.Table:
    """One row for each customer and bin that holds an event, in their order: `customer` (a position in `starts`),
    `bin`, sums and extremes.

    `steps` are events in order of (customer_id, event_time, event_id); `starts` where each customer's begin. Where
    customers had events before these, `previous` [starts] is the time of their last one, in microseconds since 1970,
    NEVER for who had none. `amount_last` and `gap_last` are of the bin's last event; a gap counts in the bin of the
    event that ends it. Roles of event types have columns where not all events are alike, the values of a text column
    where they are told apart, and a bin's first return where the question asks for the next event.
    """
    time = microseconds_of(steps["event_time"])
    second, day = time // MICROSECONDS_A_SECOND, time // MICROSECONDS_A_DAY
    first_step = np.zeros(len(time), bool)
    first_step[starts] = True
    bin_of = bins.bins(time)
    rows = np.flatnonzero(first_step | np.diff(bin_of, prepend=bin_of[:1]).astype(bool))
    ends = np.append(rows, len(time))[1:] - 1
    new_day = first_step | np.diff(day, prepend=day[:1]).astype(bool)
    gap = np.diff(second, prepend=second[:1])
    gap[first_step] = 0
    if previous is not None:
        goes_on = previous != NEVER
        continued, earlier = starts[goes_on], previous[goes_on]
        gap[continued] = second[continued] - earlier // MICROSECONDS_A_SECOND
        new_day[continued] = day[continued] != earlier // MICROSECONDS_A_DAY
        first_step[continued] = False
    # A customer's first step ends no gap; a gap of 0 seconds is one.
    gap_or_null = np.where(first_step, np.nan, gap)
    amount = floats(steps["amount"])
    has_amount = ~np.isnan(amount)
    units = {name: money_units(floats(steps[name])) for name in spec.amounts}
    table = {
        "customer": np.searchsorted(starts, rows, side="right") - 1,
        "bin": bin_of[rows],
        "events": np.diff(rows, append=len(time)),
        "purchases": _sum(has_amount.astype(np.int64), rows),
        "first": second[rows],
        "last": second[ends],
        "active_days": _sum(new_day.astype(np.int64), rows),
        "amount_max": _greatest(np.where(has_amount, units["amount"] / MONEY_UNITS, np.nan), rows),
        "amount_last": np.where(has_amount[ends], units["amount"][ends] / MONEY_UNITS, np.nan),
        "gap_last": gap_or_null[ends],
        "gap_max": _greatest(gap_or_null, rows),
        "gap_squares": _sum(gap * gap, rows),
    }
    table |= {f"sum_{name}": _sum(whole, rows) for name, whole in units.items()}
    for name in spec.numeric:
        table[f"latest_{name}"] = _greatest(np.where(units[name] > 0, second, np.nan), rows)
    if "event_type" in spec.told_apart or not all_alike(steps["event_type"], spec):
        table |= _by_role(steps["event_type"], second, rows, spec, has_amount, units["amount"])
    for name, values in spec.told_apart.items():
        for value in values:
            there = is_one_of(steps[name], (value,))
            table[f"of_{name}={value}"] = _sum(there.astype(np.int64), rows)
            table[f"latest_{name}={value}"] = _greatest(np.where(there, second, np.nan), rows)
    if spec.next_event:
        table |= _first_return(steps["event_type"], second, rows, spec)
    return pa.table(table)


def _by_role(
    types: pa.ChunkedArray, second: Integers, rows: Integers, spec: FeatureSpec, has_amount: Mask, units: Integers
) -> dict[str, Any]:
    """The sums of events by what their types are to the question."""
    active, ended, back = is_activity(types, spec), is_end(types, spec), is_return(types, spec)
    return {
        "back": _sum(back.astype(np.int64), rows),
        "back_purchases": _sum((back & has_amount).astype(np.int64), rows),
        "back_spend": _sum(np.where(back, units, 0), rows),
        "ends": _sum(ended.astype(np.int64), rows),
        LATEST_ACTIVITY: _greatest(np.where(active, second, np.nan), rows),
        LATEST_END: _greatest(np.where(ended, second, np.nan), rows),
    }


def _first_return(types: pa.ChunkedArray, second: Integers, rows: Integers, spec: FeatureSpec) -> dict[str, Any]:
    """`next_second, next_type`: of the first event in each row that is coming back; null where there is none."""
    back = np.flatnonzero(is_return(types, spec))
    first = np.append(back, len(second))[np.searchsorted(back, rows)]
    place = pa.array(first, mask=first >= np.append(rows, len(second))[1:])
    return {
        "next_second": pa.array(second).take(place),
        "next_type": types.combine_chunks().take(place).cast(pa.string()),
    }


def microseconds_of(column: pa.ChunkedArray) -> Integers:
    """A column of times, in microseconds since 1970 in UTC."""
    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))


def money_units(values: Floats) -> Integers:
    """Ten-thousandths, halves rounded away from zero as DuckDB rounds a float to decimal(18, 4); null counts as 0."""
    scaled = np.abs(np.nan_to_num(values)) * MONEY_UNITS
    return np.copysign(np.floor(scaled + 0.5), values).astype(np.int64)


def _sum(values: Integers, rows: Integers) -> Integers:
    return np.add.reduceat(values, rows) if len(rows) else np.zeros(0, np.int64)


def _greatest(values: Floats, rows: Integers) -> Floats:
    """The greatest value from each of `rows` up to the next; NaN where all are null."""
    return np.fmax.reduceat(values, rows) if len(rows) else np.zeros(0)
