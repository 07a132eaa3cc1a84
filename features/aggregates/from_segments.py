"""Aggregates and labels of the examples that see a beginning of their customer's shared history, from sums by segment.

Every window and horizon is a run of whole segments, so its sum is a difference of two running sums. They run over
integers (money in ten-thousandths), so the differences are exact, and equal to what `features.aggregates.definitions`
finds one event after another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.aggregates.calendar import calendar
from features.aggregates.comparisons import compared
from features.aggregates.definitions import ATTRIBUTE_WINDOWS, WINDOWS, named, squared_spread
from features.aggregates.grid import SECONDS_A_DAY, Grid
from features.aggregates.segment_sums import Segments
from features.aggregates.sums import LATEST_ACTIVITY, LATEST_END
from features.dataset import Floats, Integers
from features.outcomes import outcomes
from features.question import Question


@dataclass(frozen=True)
class Part:
    """Some customers' examples, in order of (cutoff, customer): columns by name, and whose they are."""

    customers: pa.Array  # in order
    customer: Integers  # [examples], positions in `customers`
    cutoff: Integers  # [examples], positions in the sequence of cutoffs
    length: Integers  # [examples], events before the cutoff
    columns: dict[str, Floats]  # aggregates, and the columns of `examples.labels` where those are asked for


def examples(
    table: pa.Table,
    values: Mapping[str, pa.Table],
    grid: Grid,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None,
) -> Part:
    """Every customer eligible at every cutoff, as if each event was known as it happened.

    `table` is that of `by_segment`, `values` those of `values_by_segment` for each categorical attribute.
    """
    sums = Segments(table, grid)
    held = {name: _Values(table, sums) for name, table in values.items()}
    blocks = []
    for number, cutoff in enumerate(cutoffs):
        who = _eligible(sums, cutoff, question)
        columns = _aggregates(sums, who, cutoff, named(attributes, "numeric")) | _of_types(sums, who, cutoff, question)
        for name, of_name in held.items():
            within = (grid.place(cutoff - timedelta(days=91)), grid.place(cutoff))
            columns[f"distinct_{name}_91"] = of_name.different(*within)[who].astype(float)
        if question.calendar:
            columns |= {name: np.full(len(who), value) for name, value in calendar(cutoff).items()}
        if labelled_until is not None:
            columns |= outcomes(sums, who, cutoff, question, labelled_until)
        blocks.append((number, who, columns))
    customer = np.concatenate([who for _, who, _ in blocks])
    columns = {name: np.concatenate([block[name] for *_, block in blocks]) for name in blocks[0][2]}
    return Part(
        customers=sums.customers,
        customer=customer,
        cutoff=np.repeat([number for number, *_ in blocks], [len(who) for _, who, _ in blocks]),
        length=columns["events_total"].astype(np.int64),
        columns=columns,
    )


def _eligible(sums: Segments, cutoff: datetime, question: Question) -> Integers:
    """The customers with activity in `[cutoff - active_within, cutoff)` who have not ended since."""
    begin, end = sums.end(cutoff - timedelta(days=question.active_within)), sums.end(cutoff)
    if question.counts_every_event:
        return np.flatnonzero(end > begin)
    # NaN, where nothing ever ended the customer, is not at or after anything.
    ended = sums.greatest(LATEST_END, end) >= sums.greatest(LATEST_ACTIVITY, end)
    return np.flatnonzero((sums.total("activity", begin, end) > 0) & ~ended)


def _of_types(sums: Segments, who: Integers, cutoff: datetime, question: Question) -> dict[str, Floats]:
    """The columns of `definitions` about event types, of the customers `who`."""
    end, second = sums.end(cutoff)[who], int(cutoff.timestamp())
    columns = {}
    if question.types:
        columns["days_since_activity"] = (second - sums.greatest(LATEST_ACTIVITY, end)) / SECONDS_A_DAY
    for name in question.types:
        columns[f"days_since_event_type={name}"] = (
            second - sums.greatest(f"latest_event_type={name}", end)
        ) / SECONDS_A_DAY
        for days in ATTRIBUTE_WINDOWS:
            begin = sums.end(cutoff - timedelta(days=days))[who]
            columns[f"event_type={name}_{days}"] = sums.total(f"event_type={name}", begin, end).astype(float)
    return columns


def _aggregates(sums: Segments, who: Integers, cutoff: datetime, numeric: Sequence[str]) -> dict[str, Floats]:
    """The columns of `definitions`, but for those of categorical attributes, of the customers `who`."""
    start, end = sums.starts[who], sums.end(cutoff)[who]
    second = int(cutoff.timestamp())
    events = sums.total("events", start, end)
    purchases = sums.total("purchases", start, end).astype(float)
    first, last = sums.at("first", start), sums.at("last", end - 1)
    gaps = _or_null((events - 1).astype(float))
    amount = sums.money("sum_amount", start, end)
    gap_mean = (last - first) / gaps / SECONDS_A_DAY
    whole = (last - first).astype(np.int64)
    spread = squared_spread(events - 1, sums.total("gap_squares", start, end), whole)
    columns = {
        "days_since_last_event": (second - last) / SECONDS_A_DAY,
        "days_since_first_event": (second - first) / SECONDS_A_DAY,
        "events_total": events.astype(float),
        "active_days_total": sums.total("active_days", start, end).astype(float),
        "amount_total": amount,
        "amount_mean": amount / _or_null(purchases),
        "amount_max": sums.greatest("amount_max", end),
        "amount_last": sums.at("amount_last", end - 1),
        "gap_mean": gap_mean,
        "gap_std": np.sqrt(spread) / gaps / SECONDS_A_DAY,
        "gap_max": sums.greatest("gap_max", end) / SECONDS_A_DAY,
        "gap_last": sums.at("gap_last", end - 1) / SECONDS_A_DAY,
    }
    for days in WINDOWS:
        begin = sums.end(cutoff - timedelta(days=days))[who]
        columns[f"events_{days}"] = sums.total("events", begin, end).astype(float)
        columns[f"amount_{days}"] = sums.money("sum_amount", begin, end)
        if days in ATTRIBUTE_WINDOWS:
            for name in ("quantity", *numeric):
                columns[f"{name}_{days}"] = sums.money(f"sum_{name}", begin, end)
    begin = sums.end(cutoff - timedelta(days=91))[who]
    columns["amount_mean_91"] = columns["amount_91"] / _or_null(sums.total("purchases", begin, end).astype(float))
    for name in numeric:
        columns[f"days_since_{name}"] = (second - sums.greatest(f"latest_{name}", end)) / SECONDS_A_DAY
    return columns | compared(columns)


class _Values:
    """The table of `values_by_segment`, and whose its rows are."""

    def __init__(self, table: pa.Table, sums: Segments) -> None:
        self._customer = pc.index_in(table["customer_id"], sums.customers).to_numpy()
        self._segment, self._following = table["segment"].to_numpy(), table["following"].to_numpy()
        self._customers = len(sums.customers)

    def different(self, after: int, upto: int) -> Integers:
        """[customers]: how many values have their last row up to the segment `upto` in one past the segment `after`."""
        last = (self._segment > after) & (self._segment <= upto) & (self._following > upto)
        return np.bincount(self._customer[last], minlength=self._customers)


def _or_null(divisor: NDArray[np.floating[Any]]) -> Floats:
    """NaN where the divisor is 0, and so the quotient undefined."""
    return np.where(divisor == 0, np.nan, divisor).astype(np.float64)
