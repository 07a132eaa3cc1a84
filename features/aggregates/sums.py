"""The table of `features.aggregates.segments.by_segment` in arrays, from steps that an engine has sorted already.

Sorting is what an engine is good at, and histories need it anyway. What is left is one pass over sorted columns, where
an engine would sort once more and look customers up by their ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.aggregates.definitions import named
from features.aggregates.grid import SECONDS_A_DAY, Days, Grid
from features.aggregates.segment_sums import MONEY_UNITS, floats
from features.dataset import Floats, Integers
from features.question import Question
from features.sequences.encoding import NEVER

SECOND = 1_000_000  # microseconds
# A sign that no attribute's name has keeps the latest second of a type apart from that of an attribute.
LATEST_ACTIVITY, LATEST_END = "latest_=activity", "latest_=end"
Mask = NDArray[np.bool_]


def sums_by_segment(
    steps: pa.Table,
    starts: Integers,
    grid: Grid | Days,
    attributes: Mapping[str, str],
    previous: Integers | None = None,
    question: Question = Question(),  # noqa: B008 (frozen)
) -> pa.Table:
    """`steps` are current events before the grid's end, in order of (customer_id, event_time, event_id); `starts` where
    each customer's begin. Money is in ten-thousandths, as integers. Where customers had events before these, `previous`
    [starts] is the time of their last one, in microseconds since 1970 in UTC, NEVER for who had none. Event types have
    columns where `question` tells them apart, and so has a segment's first return where it asks for the next event.
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
    if question.types:
        table |= _of_types(steps, second, rows, question, ~np.isnan(amount), units["amount"])
    if question.next_event:
        table |= _first_return(steps, second, rows, question)
    return pa.table(table)


def _of_types(
    steps: pa.Table, second: Integers, rows: Integers, question: Question, bought: Mask, units: Integers
) -> dict[str, Any]:
    """What is counted of the event types that the question tells apart; `bought` are the steps with an amount."""
    active, ended = _is_activity(steps, question), _is_one_of(steps, question.ends_with)
    back = _comes_back(steps, question)
    columns = {
        "activity": _sum(active.astype(np.int64), rows),
        "back": _sum(back.astype(np.int64), rows),
        "back_purchases": _sum((back & bought).astype(np.int64), rows),
        "back_spend": _sum(np.where(back, units, 0), rows),
        "ends": _sum(ended.astype(np.int64), rows),
        LATEST_ACTIVITY: _greatest(np.where(active, second, np.nan), rows),
        LATEST_END: _greatest(np.where(ended, second, np.nan), rows),
    }
    for name in question.types:
        its = _is_one_of(steps, (name,))
        columns[f"event_type={name}"] = _sum(its.astype(np.int64), rows)
        columns[f"latest_event_type={name}"] = _greatest(np.where(its, second, np.nan), rows)
    return columns


def _first_return(steps: pa.Table, second: Integers, rows: Integers, question: Question) -> dict[str, Any]:
    """`next_second, next_type`: of the first event in each row that is coming back; null where there is none."""
    back = np.flatnonzero(_comes_back(steps, question))
    first = np.append(back, len(second))[np.searchsorted(back, rows)]
    place = pa.array(first, mask=first >= np.append(rows, len(second))[1:])
    return {
        "next_second": pa.array(second).take(place),
        "next_type": steps["event_type"].combine_chunks().take(place).cast(pa.string()),
    }


def _is_activity(steps: pa.Table, question: Question) -> Mask:
    return _is_one_of(steps, question.activity) if question.activity else ~_is_one_of(steps, question.ends_with)


def _comes_back(steps: pa.Table, question: Question) -> Mask:
    return _is_one_of(steps, question.comes_back_with) if question.comes_back_with else _is_activity(steps, question)


def _is_one_of(steps: pa.Table, types: Sequence[str]) -> Mask:
    found = pc.is_in(steps["event_type"].cast(pa.string()), pa.array(types, pa.string()))
    return np.asarray(found.to_numpy(), bool)


def money_units(values: Floats) -> Integers:
    """Ten-thousandths, halves rounded away from zero as DuckDB rounds a float to decimal(18, 4); null counts as 0."""
    scaled = np.abs(np.nan_to_num(values)) * MONEY_UNITS
    return np.copysign(np.floor(scaled + 0.5), values).astype(np.int64)


def _sum(values: Integers, rows: Integers) -> Integers:
    return np.add.reduceat(values, rows) if len(rows) else np.zeros(0, np.int64)


def _greatest(values: NDArray[np.float64], rows: Integers) -> Floats:
    """The greatest value from each of `rows` up to the next; NaN where all are null."""
    return np.fmax.reduceat(values, rows) if len(rows) else np.zeros(0)
