"""Aggregates and labels of the examples that see a beginning of their customer's shared history, from sums by segment.

Every window and horizon is a run of whole segments, so its sum is a difference of two running sums. They run over
integers (money in ten-thousandths), so the differences are exact, and equal to what `features.aggregates` finds one
event after another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.aggregates import ATTRIBUTE_WINDOWS, SECONDS_A_DAY, WINDOWS, named
from features.dataset import Floats, Integers
from features.grid import Grid
from features.question import Question

MONEY_UNITS = 10_000.0  # an amount in decimals of four places, as an integer


@dataclass(frozen=True)
class Part:
    """Some customers' examples, in order of (cutoff, customer): columns by name, and whose they are."""

    customers: pa.Array  # in order
    customer: Integers  # [examples], positions in `customers`
    cutoff: Integers  # [examples], positions in the sequence of cutoffs
    length: Integers  # [examples], events before the cutoff
    columns: dict[str, Floats]  # aggregates, and `churn_H, purchases_H, spend_H` where labels are asked for


class Segments:
    """The table of `by_segment`, with running sums over its rows and each customer's place among them."""

    def __init__(self, table: pa.Table, grid: Grid) -> None:
        self._table, self._grid = table, grid
        ids = table["customer_id"].combine_chunks()
        changes = np.ones(len(ids), bool)
        if len(ids):
            changes[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        self.starts = np.flatnonzero(changes)
        self.customers = ids.take(pa.array(self.starts))
        self._row = np.cumsum(changes) - 1
        self._key = self._row * (len(grid.boundaries) + 1) + table["segment"].to_numpy()
        self._places: dict[int, Integers] = {}
        self._running: dict[str, Integers] = {}
        self._extremes: dict[str, Floats] = {}

    def end(self, moment: datetime) -> Integers:
        """[customers]: the number of rows up to and with each customer's last one before `moment`."""
        place = self._grid.place(moment)
        if place not in self._places:
            asked = np.arange(len(self.starts)) * (len(self._grid.boundaries) + 1) + place
            self._places[place] = np.searchsorted(self._key, asked, side="right")
        return self._places[place]

    def total(self, name: str, start: Integers, end: Integers) -> Integers:
        """The sums of a column over the rows `[start, end)`; what overflows on the way returns on the way back."""
        if name not in self._running:
            self._running[name] = np.concatenate([[0], np.cumsum(integers(self._table[name]))])
        return self._running[name][end] - self._running[name][start]

    def greatest(self, name: str, end: Integers) -> Floats:
        """The greatest value of a column over the customer's rows before `end`; NaN where all are null."""
        if name not in self._extremes:
            values = floats(self._table[name]).copy()
            rows = self.starts[np.diff(self.starts, append=len(values)) > 1] + 1
            while len(rows):
                values[rows] = np.fmax(values[rows], values[rows - 1])
                rows = rows[rows + 1 < len(values)] + 1
                rows = rows[self._row[rows] == self._row[rows - 1]]
            self._extremes[name] = values
        return self._extremes[name][end - 1]

    def at(self, name: str, rows: Integers) -> Floats:
        """A column's values at `rows`; NaN where null."""
        if name not in self._extremes:
            self._extremes[name] = floats(self._table[name])
        return self._extremes[name][rows]


def examples(
    table: pa.Table,
    values: Mapping[str, pa.Table],
    grid: Grid,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None,
) -> Part:
    """Every customer with an event in `[cutoff - active_within, cutoff)`, as if each event was known as it happened.

    `table` is that of `by_segment`, `values` those of `values_by_segment` for each categorical attribute.
    """
    sums = Segments(table, grid)
    held = {name: _Values(table, sums) for name, table in values.items()}
    blocks = []
    for number, cutoff in enumerate(cutoffs):
        every = sums.end(cutoff)
        who = np.flatnonzero(every > sums.end(cutoff - timedelta(days=question.active_within)))
        columns = _aggregates(sums, who, cutoff, named(attributes, "numeric"))
        for name, of_name in held.items():
            within = (grid.place(cutoff - timedelta(days=91)), grid.place(cutoff))
            columns[f"distinct_{name}_91"] = of_name.different(*within)[who].astype(float)
        if labelled_until is not None:
            columns |= _labels(sums, who, cutoff, question, labelled_until)
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


def _aggregates(sums: Segments, who: Integers, cutoff: datetime, numeric: Sequence[str]) -> dict[str, Floats]:
    """The columns of `definitions`, but for those of categorical attributes, of the customers `who`."""
    start, end = sums.starts[who], sums.end(cutoff)[who]
    second = int(cutoff.timestamp())
    events = sums.total("events", start, end)
    purchases = sums.total("purchases", start, end).astype(float)
    first, last = sums.at("first", start), sums.at("last", end - 1)
    gaps = _or_null((events - 1).astype(float))
    amount = _money(sums.total("sum_amount", start, end))
    gap_mean = (last - first) / gaps / SECONDS_A_DAY
    variance = sums.total("gap_squares", start, end) / gaps / SECONDS_A_DAY**2 - gap_mean * gap_mean
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
        # Rounding can leave a variance of evenly spaced events just below zero; null stays null.
        "gap_std": np.sqrt(np.where(variance < 0, 0.0, variance)),
        "gap_max": sums.greatest("gap_max", end) / SECONDS_A_DAY,
        "gap_last": sums.at("gap_last", end - 1) / SECONDS_A_DAY,
    }
    columns["overdue"] = columns["days_since_last_event"] / _or_null(gap_mean)
    for days in WINDOWS:
        begin = sums.end(cutoff - timedelta(days=days))[who]
        columns[f"events_{days}"] = sums.total("events", begin, end).astype(float)
        columns[f"amount_{days}"] = _money(sums.total("sum_amount", begin, end))
        if days in ATTRIBUTE_WINDOWS:
            for name in ("quantity", *numeric):
                columns[f"{name}_{days}"] = _money(sums.total(f"sum_{name}", begin, end))
    columns["events_trend"] = 2 * columns["events_28"] - columns["events_56"]
    for name in numeric:
        columns[f"days_since_{name}"] = (second - sums.greatest(f"latest_{name}", end)) / SECONDS_A_DAY
    return columns


def _labels(
    sums: Segments, who: Integers, cutoff: datetime, question: Question, labelled_until: datetime
) -> dict[str, Floats]:
    """`churn_H, purchases_H, spend_H` over `[cutoff, cutoff + H days)`; NaN where that ends after `labelled_until`."""
    columns = {}
    for days in question.horizons:
        over = cutoff + timedelta(days=days)
        span = sums.end(cutoff)[who], sums.end(over)[who]
        observed = 0.0 if over <= labelled_until else np.nan
        columns[f"churn_{days}"] = (sums.total("events", *span) == 0) + observed
        columns[f"purchases_{days}"] = sums.total("purchases", *span) + observed
        columns[f"spend_{days}"] = _money(sums.total("sum_amount", *span)) + observed
    return columns


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


def integers(column: pa.ChunkedArray) -> Integers:
    """A column of integers, or of decimals in ten-thousandths; null counts as 0."""
    if not pa.types.is_decimal(column.type):
        return np.asarray(column.cast(pa.int64()).fill_null(0))
    parts = []
    for chunk in column.chunks:
        # A decimal of up to 18 digits lies in the lower half of its 16 bytes.
        whole = np.frombuffer(chunk.buffers()[1], np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk)) : 2]
        parts.append(np.where(chunk.is_valid().to_numpy(zero_copy_only=False), whole, 0))
    return np.concatenate([np.zeros(0, np.int64), *parts])


def floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan))


def _money(units: Integers) -> Floats:
    return units / MONEY_UNITS


def _or_null(divisor: NDArray[np.floating[Any]]) -> Floats:
    """NaN where the divisor is 0, and so the quotient undefined."""
    return np.where(divisor == 0, np.nan, divisor).astype(np.float64)
