"""Aggregates of every customer eligible at every cutoff, from running totals.

Every window is a run of whole bins, so its sum is a difference of two running totals; they run over integers, so the
differences are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregates.calendar import calendar
from features.aggregates.comparisons import compared
from features.aggregates.definitions import ATTRIBUTE_WINDOWS, WINDOWS
from features.aggregates.sums import LATEST_ACTIVITY, LATEST_END
from features.aggregates.totals import RunningTotals
from features.arrays import Floats, Integers
from features.eligibility import is_eligible
from features.spec import FeatureSpec
from features.time import MICROSECONDS_A_DAY, MICROSECONDS_A_SECOND, SECONDS_A_DAY, instant

NO_MORE = 1 << 40  # the bin of the event after the last


@dataclass(frozen=True, eq=False)
class ValueRuns:
    """Where each value of a categorical attribute occurs: the customer, the bin, and the bin in which the customer's
    next event with that value lies (NO_MORE: there is none). One entry for a customer, value and bin.
    """

    customer: Integers
    bin: Integers
    following: Integers

    @classmethod
    def of(cls, customer: Integers, codes: NDArray[np.int32], bin_of: Integers) -> "ValueRuns":
        """From events in order: their customers, the codes of their values (-1: null), and their bins."""
        rows = np.flatnonzero(codes >= 0)
        key = customer[rows] * (codes.max(initial=0) + 1) + codes[rows]
        order = np.argsort(key, kind="stable")
        rows, key = rows[order], key[order]
        following = np.append(bin_of[rows][1:], NO_MORE)[: len(rows)]
        following[np.flatnonzero(np.diff(key, append=-1))] = NO_MORE
        last = following > bin_of[rows]  # of its bin
        return cls(customer[rows][last], bin_of[rows][last], following[last])

    def different(self, after: int, upto: int, customers: int) -> Integers:
        """[customers]: how many values occur in the bins past `after` up to `upto`."""
        latest = (self.bin > after) & (self.bin <= upto) & (self.following > upto)
        return np.bincount(self.customer[latest], minlength=customers)


@dataclass(frozen=True, eq=False)
class ExampleRows:
    """Examples in order of (cutoff, customer): whose they are, as positions among the totals' customers, at which
    cutoff, as a position among the cutoffs, and their aggregates.
    """

    customer: Integers
    cutoff: Integers
    columns: dict[str, Floats]


def example_rows(
    totals: RunningTotals, values: Mapping[str, ValueRuns], cutoffs: Integers, spec: FeatureSpec
) -> ExampleRows:
    """Every customer eligible at every cutoff. `cutoffs` are boundaries of the totals' bins, in microseconds, and so
    are the beginnings of their windows; `values` are those of each categorical attribute.
    """
    parts = []
    for number, cutoff in enumerate(cutoffs.tolist()):
        eligible = eligible_customers(totals, cutoff, spec)
        columns = _aggregates(totals, eligible, cutoff, spec) | _by_value(totals, eligible, cutoff, spec)
        bins = (totals.bin_before(cutoff - 91 * MICROSECONDS_A_DAY), totals.bin_before(cutoff))
        for name, runs in values.items():
            columns[f"distinct_{name}_91"] = runs.different(*bins, len(totals.customers))[eligible].astype(float)
        if spec.calendar:
            columns |= {name: np.full(len(eligible), value) for name, value in calendar(instant(cutoff)).items()}
        parts.append((number, eligible, columns))
    return ExampleRows(
        customer=np.concatenate([eligible for _, eligible, _ in parts]),
        cutoff=np.repeat([number for number, *_ in parts], [len(eligible) for _, eligible, _ in parts]),
        columns={name: np.concatenate([columns[name] for *_, columns in parts]) for name in parts[0][2]},
    )


def eligible_customers(totals: RunningTotals, cutoff: int, spec: FeatureSpec) -> Integers:
    """The positions of the customers eligible at `cutoff`, ascending."""
    end = totals.end(cutoff)
    latest = _latest_activity(totals, end)
    ended = totals.greatest(LATEST_END, end) if totals.has(LATEST_END) else np.full(len(end), np.nan)
    there = is_eligible(latest, ended, cutoff // MICROSECONDS_A_SECOND, spec.active_within)
    return np.flatnonzero(there & (end > totals.starts))


def _latest_activity(totals: RunningTotals, end: Integers) -> Floats:
    """The second of the latest activity in the rows before `end`; without meaning where there is no row."""
    if totals.has(LATEST_ACTIVITY):
        return totals.greatest(LATEST_ACTIVITY, end)
    return totals.at("last", end - 1)


def _by_value(totals: RunningTotals, who: Integers, cutoff: int, spec: FeatureSpec) -> dict[str, Floats]:
    """The columns of `definitions` about event types and the values of attributes, of the customers `who`."""
    end, second = totals.end(cutoff)[who], cutoff // MICROSECONDS_A_SECOND
    columns = {}
    if "event_type" in spec.told_apart:
        columns["days_since_activity"] = (second - totals.greatest(LATEST_ACTIVITY, end)) / SECONDS_A_DAY
    for named in (f"{name}={value}" for name, values in spec.told_apart.items() for value in values):
        columns[f"days_since_{named}"] = (second - totals.greatest(f"latest_{named}", end)) / SECONDS_A_DAY
        for days in ATTRIBUTE_WINDOWS:
            begin = totals.end(cutoff - days * MICROSECONDS_A_DAY)[who]
            columns[f"{named}_{days}"] = totals.total(f"of_{named}", begin, end).astype(float)
    return columns


def _aggregates(totals: RunningTotals, who: Integers, cutoff: int, spec: FeatureSpec) -> dict[str, Floats]:
    """The columns of `definitions` about times and amounts, of the customers `who`."""
    start, end = totals.starts[who], totals.end(cutoff)[who]
    second = cutoff // MICROSECONDS_A_SECOND
    events = totals.total("events", start, end)
    purchases = totals.total("purchases", start, end).astype(float)
    first, last = totals.at("first", start), totals.at("last", end - 1)
    gaps = _or_null((events - 1).astype(float))
    amount = totals.money("sum_amount", start, end)
    spread = squared_spread(events - 1, totals.total("gap_squares", start, end), (last - first).astype(np.int64))
    columns = {
        "days_since_last_event": (second - last) / SECONDS_A_DAY,
        "days_since_first_event": (second - first) / SECONDS_A_DAY,
        "events_total": events.astype(float),
        "active_days_total": totals.total("active_days", start, end).astype(float),
        "amount_total": amount,
        "amount_mean": amount / _or_null(purchases),
        "amount_max": totals.greatest("amount_max", end),
        "amount_last": totals.at("amount_last", end - 1),
        "gap_mean": (last - first) / gaps / SECONDS_A_DAY,
        "gap_std": np.sqrt(spread) / gaps / SECONDS_A_DAY,
        "gap_max": totals.greatest("gap_max", end) / SECONDS_A_DAY,
        "gap_last": totals.at("gap_last", end - 1) / SECONDS_A_DAY,
    }
    for days in WINDOWS:
        begin = totals.end(cutoff - days * MICROSECONDS_A_DAY)[who]
        columns[f"events_{days}"] = totals.total("events", begin, end).astype(float)
        columns[f"amount_{days}"] = totals.money("sum_amount", begin, end)
        if days in ATTRIBUTE_WINDOWS:
            for name in ("quantity", *spec.numeric):
                columns[f"{name}_{days}"] = totals.money(f"sum_{name}", begin, end)
    begin = totals.end(cutoff - 91 * MICROSECONDS_A_DAY)[who]
    columns["amount_mean_91"] = columns["amount_91"] / _or_null(totals.total("purchases", begin, end).astype(float))
    for name in spec.numeric:
        columns[f"days_since_{name}"] = (second - totals.greatest(f"latest_{name}", end)) / SECONDS_A_DAY
    return columns | compared(columns)


def squared_spread(gaps: Integers, squares: Integers, whole: Integers) -> Floats:
    """n² times the variance of n `gaps`, from the sum of their `squares` and their sum `whole`, in exact integers:
    `gaps * squares - whole**2`.

    The difference is taken in halves of 32 bits, where no product passes 64: between two floats it would be lost for
    events that come almost evenly.
    """
    low, square = 2**32 - 1, whole * whole
    return np.asarray((gaps * (squares >> 32) - (square >> 32)) * 2.0**32 + (gaps * (squares & low) - (square & low)))


def _or_null(divisor: Any) -> Floats:
    """NaN where the divisor is 0, and so the quotient undefined."""
    return np.where(divisor == 0, np.nan, divisor).astype(np.float64)
