"""The table of `features.segments.by_segment` in arrays, from steps that an engine has sorted already.

Sorting is what an engine is good at, and histories need it anyway. What is left is one pass over sorted columns, where
an engine would sort once more and look customers up by their ids.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.aggregates import SECONDS_A_DAY, named
from features.dataset import Floats, Integers
from features.encoding import NEVER
from features.from_segments import MONEY_UNITS, floats
from features.grid import Days, Grid

SECOND = 1_000_000  # microseconds


def sums_by_segment(
    steps: pa.Table,
    starts: Integers,
    grid: Grid | Days,
    attributes: Mapping[str, str],
    previous: Integers | None = None,
) -> pa.Table:
    """`steps` are current events before the grid's end, in order of (customer_id, event_time, event_id); `starts` where
    each customer's begin. Money is in ten-thousandths, as integers. Where customers had events before these, `previous`
    [starts] is the time of their last one, in microseconds since 1970 in UTC, NEVER for who had none.
    """
    time = np.asarray(steps["event_time"].cast(pa.int64()))
    second = time // SECOND
    first_step = np.zeros(len(time), bool)
    first_step[starts] = True
    segment = grid.segments(time)
    opens = first_step.copy()
    opens[1:] |= segment[1:] != segment[:-1]
    rows = np.flatnonzero(opens)
    ends = np.append(rows, len(time))[1:] - 1
    day = second // SECONDS_A_DAY
    new_day = first_step.copy()
    new_day[1:] |= day[1:] != day[:-1]
    gap = np.diff(second, prepend=second[:1])
    gap[first_step] = 0
    if previous is not None:
        goes_on = previous != NEVER
        steps_on, earlier = starts[goes_on], previous[goes_on] // SECOND
        gap[steps_on] = second[steps_on] - earlier
        new_day[steps_on] = day[steps_on] != earlier // SECONDS_A_DAY
        first_step[steps_on] = False
    # A customer's first step ends no gap; a gap of 0 seconds is one.
    gap_or_null = np.where(first_step, np.nan, gap)
    amount = floats(steps["amount"])
    units = {name: money_units(floats(steps[name])) for name in ("amount", "quantity", *named(attributes, "numeric"))}
    table = {
        "customer_id": steps["customer_id"].combine_chunks().take(pa.array(rows)),
        "segment": segment[rows],
        "events": np.diff(rows, append=len(time)),
        "purchases": _sum((~np.isnan(amount)).astype(np.int64), rows),
        "first": second[rows],
        "last": second[ends],
        "active_days": _sum(new_day.astype(np.int64), rows),
        "amount_max": _greatest(np.where(np.isnan(amount), np.nan, units["amount"] / MONEY_UNITS), rows),
        "amount_last": np.where(np.isnan(amount[ends]), np.nan, units["amount"][ends] / MONEY_UNITS),
        "gap_last": gap_or_null[ends],
        "gap_max": _greatest(gap_or_null, rows),
        "gap_squares": _sum(gap * gap, rows),
    }
    table |= {f"sum_{name}": _sum(whole, rows) for name, whole in units.items()}
    for name in named(attributes, "numeric"):
        table[f"latest_{name}"] = _greatest(np.where(units[name] > 0, second, np.nan), rows)
    return pa.table(table)


def money_units(values: Floats) -> Integers:
    """Ten-thousandths, halves rounded away from zero as DuckDB rounds a float to decimal(18, 4); null counts as 0."""
    scaled = np.abs(np.nan_to_num(values)) * MONEY_UNITS
    return np.copysign(np.floor(scaled + 0.5), values).astype(np.int64)


def _sum(values: Integers, rows: Integers) -> Integers:
    return np.add.reduceat(values, rows) if len(rows) else np.zeros(0, np.int64)


def _greatest(values: NDArray[np.float64], rows: Integers) -> Floats:
    """The greatest value from each of `rows` up to the next; NaN where all are null."""
    return np.fmax.reduceat(values, rows) if len(rows) else np.zeros(0)
