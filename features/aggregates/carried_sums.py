"""Sums of events by customer and day that go on from night to night: what the aggregates need of a past that is not
read again.

They are those of `features.aggregates.sums`, a bin a day, since nights end at midnight and windows are whole days. Days
before every window are folded into one row a customer, so that a customer costs no more rows than the days it was there
in the longest window, and one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.aggregates.definitions import WINDOWS, definitions
from features.aggregates.rows import NO_MORE, ValueRuns, example_rows
from features.aggregates.sums import LATEST_ACTIVITY, microseconds_of, sums_by_bin
from features.aggregates.time_bins import DayBins, TimeBins
from features.aggregates.totals import RunningTotals, floats, integers
from features.arrays import Integers
from features.spec import FeatureSpec
from features.time import MICROSECONDS_A_DAY

LONGEST = max(WINDOWS)  # days
SMALLEST, GREATEST, LATEST = ("first",), ("last", "amount_max", "gap_max"), ("amount_last", "gap_last")
OF_LABELS = ("back", "back_purchases", "back_spend", "ends", "next_second", "next_type")
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CarriedSums:
    """`days` holds the columns of `sums_by_bin`, in order of (customer, day); `seen[attribute]` the last day of each
    value of a categorical attribute, in order of (customer, value). `customer` is a position in a list of customers
    that is kept elsewhere, in ascending order of their ids.
    """

    days: Columns
    seen: dict[str, pa.Table]  # customer int64, value string, day int64

    @classmethod
    def of(
        cls,
        steps: pa.Table,
        starts: Integers,
        customer: Integers,
        spec: FeatureSpec,
        previous: Integers | None = None,
    ) -> Self:
        """Of the events `steps`, as `sums_by_bin` reads them; `customer` [starts] is whose they are."""
        sums = sums_by_bin(steps, starts, DayBins(), spec, previous)
        names = [name for name in sums.column_names[2:] if name not in OF_LABELS]
        days: Columns = {"customer": customer[sums["customer"].to_numpy()], "day": integers(sums["bin"])}
        fractional = (*GREATEST[1:], *LATEST, *_latest(names))
        for name in names:
            days[name] = floats(sums[name]) if name in fractional else integers(sums[name])
        owner = np.repeat(customer, np.diff(starts, append=len(steps)))
        day = DayBins().bins(microseconds_of(steps["event_time"]))
        return cls(days, {name: _last_days(steps[name], owner, day) for name in spec.categorical})

    def moved(self, to: Integers) -> Self:
        """The same with customer `c` in the place `to[c]`, and without those whose place is -1. The order stays."""
        rows = to[self.days["customer"]] >= 0
        days = self.days if rows.all() else {name: column[rows] for name, column in self.days.items()}
        values = {}
        for name, table in self.seen.items():
            places = to[table["customer"].to_numpy()]
            kept = table.set_column(0, "customer", pa.array(places))
            values[name] = kept if (places >= 0).all() else kept.filter(pa.array(places >= 0))
        return type(self)({**days, "customer": to[days["customer"]]}, values)

    def with_more(self, more: Self) -> Self:
        """Both together. In a customer, the days of `more` follow those that are here, or are the last of them."""
        names = dict.fromkeys([*self.days, *more.days])
        together = {name: np.concatenate([_column(self.days, name), _column(more.days, name)]) for name in names}
        order = np.argsort(together["customer"], kind="stable")
        seen = {name: _joined(table, more.seen[name]) for name, table in self.seen.items()}
        return type(self)({name: column[order] for name, column in together.items()}, seen)

    def folded(self, cutoff: int) -> Self:
        """The same, as long as nothing is asked of a time before `cutoff`, a number of a day: what lies before every
        window is one row a customer, and values last seen before are forgotten.
        """
        since = cutoff - LONGEST
        seen = {name: table.filter(pc.greater_equal(table["day"], since)) for name, table in self.seen.items()}
        return type(self)(_folded(self.days, since), seen)

    def aggregates(self, cutoff: int, spec: FeatureSpec) -> tuple[Integers, pd.DataFrame]:
        """The customers eligible at the beginning of the day `cutoff`, ascending, and their aggregates. Nothing at or
        after it may be in the sums.
        """
        moment = np.array([cutoff * MICROSECONDS_A_DAY])
        bins = TimeBins.of(moment, [-days for days in (*WINDOWS, spec.active_within)])
        columns = {name: pa.array(column) for name, column in self.days.items() if name not in ("customer", "day")}
        sums = {"customer": pa.array(self.days["customer"]), "bin": _bins_of(self.days["day"], bins), **columns}
        totals = RunningTotals(pa.table(sums), bins)
        values = {}
        for name, table in self.seen.items():
            customer = np.searchsorted(totals.customers, table["customer"].to_numpy())
            no_more = np.full(len(table), NO_MORE)
            values[name] = ValueRuns(customer, _bins_of(table["day"].to_numpy(), bins), no_more)
        rows = example_rows(totals, values, moment, spec)
        return totals.customers[rows.customer], pd.DataFrame({name: rows.columns[name] for name in definitions(spec)})


def _bins_of(days: Integers, bins: TimeBins) -> Integers:
    return bins.bins(days * MICROSECONDS_A_DAY)


def _column(days: Columns, name: str) -> NDArray[Any]:
    """A column of sums; of types that no event of these days had, what their absence means."""
    if name in days:
        return days[name]
    return days["last"].astype(np.float64) if name == LATEST_ACTIVITY else np.full(len(days["day"]), np.nan)


def _last_days(values: pa.ChunkedArray, customer: Integers, day: Integers) -> pa.Table:
    """The last day of each value of each customer, in order."""
    columns = [pa.array(customer), values.cast(pa.string()).combine_chunks(), pa.array(day)]
    return _latest_of(pa.table(columns, names=["customer", "value", "day"]).filter(pc.is_valid(values)))


def _joined(table: pa.Table, more: pa.Table) -> pa.Table:
    """The later day of each value in either. Customers of whom `more` says nothing keep their rows as they are."""
    more = more.select(table.column_names).cast(table.schema)
    customer, new = table["customer"].to_numpy(), more["customer"].to_numpy()
    touched = np.zeros(max(customer.max(initial=-1), new.max(initial=-1)) + 1, bool)
    touched[new] = True
    rows = pa.array(touched[customer])
    latest = _latest_of(pa.concat_tables([table.filter(rows), more]))
    together = pa.concat_tables([table.filter(pc.invert(rows)), latest])
    return together.take(pa.array(np.argsort(together["customer"].to_numpy(), kind="stable")))


def _latest_of(seen: pa.Table) -> pa.Table:
    latest = seen.group_by(["customer", "value"]).aggregate([("day", "max")]).rename_columns(seen.column_names)
    return latest.sort_by([("customer", "ascending"), ("value", "ascending")])


def _folded(days: Columns, since: int) -> Columns:
    """The rows of each customer before the day `since` as one."""
    customer, old = days["customer"], days["day"] < since
    begins = np.ones(len(customer), bool)
    begins[1:] = (customer[1:] != customer[:-1]) | ~old[1:]
    if begins.all():
        return days
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(customer)) - 1
    folded: Columns = {}
    for name, column in days.items():
        if name in ("customer", "day", *LATEST):
            folded[name] = column[ends]
        elif name in SMALLEST:
            folded[name] = np.fmin.reduceat(column, starts)
        elif name in (*GREATEST, *_latest(days)):
            folded[name] = np.fmax.reduceat(column, starts)
        else:
            folded[name] = np.add.reduceat(column, starts)
    return folded


def _latest(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("latest_")]
