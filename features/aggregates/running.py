"""Sums of events by customer and day that go on from night to night: what the aggregates need of a past that is not
read again.

They are those of `features.aggregates.sums`, a segment a day, since nights end at midnight and windows are whole days.
Days before every window are folded into one row a customer, so that a customer costs no more rows than the days it was
there in the longest window, and one. Sums are integers (money in ten-thousandths), so that they are exact in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.aggregates.definitions import WINDOWS, definitions, named
from features.aggregates.from_segments import examples
from features.aggregates.grid import SECONDS_A_DAY, Days, Grid
from features.aggregates.segment_sums import floats, integers
from features.aggregates.segments import NO_MORE
from features.aggregates.sums import sums_by_segment
from features.dataset import Integers
from features.question import Question
from features.sequences.histories import starts_of_runs

LONGEST = max(WINDOWS)  # days
SMALLEST, GREATEST, LATEST = ("first",), ("last", "amount_max", "gap_max"), ("amount_last", "gap_last")
OF_LABELS = ("next_second", "next_type")
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Running:
    """`days` holds the columns of `sums_by_segment`, in order of (customer, day); `seen[attribute]` the last day of
    each value of a categorical attribute, in order of (customer, value). `customer` is a position in a list of
    customers that is kept elsewhere, in ascending order of their ids.
    """

    days: Columns
    seen: dict[str, pa.Table]  # customer int64, value string, day int64

    @classmethod
    def of(
        cls,
        steps: pa.Table,
        starts: Integers,
        customer: Integers,
        attributes: Mapping[str, str],
        previous: Integers | None = None,
        question: Question = Question(),  # noqa: B008 (frozen)
    ) -> Self:
        """Of the events `steps`, as `sums_by_segment` reads them; `customer` [starts] is whose they are."""
        sums = sums_by_segment(steps, starts, Days(), attributes, previous, question)
        sums = sums.drop_columns([name for name in OF_LABELS if name in sums.column_names])
        run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(steps)))
        days_of = np.diff(starts_of_runs(sums, ("customer_id",)), append=len(sums))
        days: Columns = {"customer": np.repeat(customer, days_of), "day": integers(sums["segment"])}
        not_whole = (*GREATEST[1:], *LATEST, *_latest(sums.column_names))
        for name in sums.column_names[2:]:
            days[name] = floats(sums[name]) if name in not_whole else integers(sums[name])
        day = Days().segments(np.asarray(steps["event_time"].cast(pa.int64())))
        return cls(
            days, {name: _last_days(steps[name], customer[run], day) for name in named(attributes, "categorical")}
        )

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

    def with_more(self, more: "Running") -> Self:
        """Both together. In a customer, the days of `more` follow those that are here, or are the last of them."""
        together = {name: np.concatenate([column, more.days[name]]) for name, column in self.days.items()}
        order = np.argsort(together["customer"], kind="stable")
        seen = {name: _joined(table, more.seen[name]) for name, table in self.seen.items()}
        return type(self)({name: column[order] for name, column in together.items()}, seen)

    def folded(self, cutoff: datetime) -> Self:
        """The same, as long as nothing is asked of a time before `cutoff`: what lies before every window is one row a
        customer, and values last seen before are forgotten.
        """
        since = day_of(cutoff) - LONGEST
        seen = {name: table.filter(pc.greater_equal(table["day"], since)) for name, table in self.seen.items()}
        return type(self)(_folded(self.days, since), seen)

    def aggregates(
        self, cutoff: datetime, question: Question, attributes: Mapping[str, str]
    ) -> tuple[Integers, pd.DataFrame]:
        """The customers eligible at `cutoff`, ascending, and their aggregates, as "
        "`features.aggregates.definitions` defines them.
        Nothing at or after `cutoff` may be in the sums.
        """
        grid = Grid.of([cutoff], (*WINDOWS, question.active_within), ())
        boundaries = np.array([day_of(boundary) for boundary in grid.boundaries])

        def segments(days: Integers) -> pa.Array:
            return pa.array(np.searchsorted(boundaries, days, side="right"))

        columns = {name: pa.array(column) for name, column in self.days.items() if name not in ("customer", "day")}
        sums = {"customer_id": pa.array(self.days["customer"]), "segment": segments(self.days["day"]), **columns}
        values = {
            name: pa.table(
                {
                    "customer_id": table["customer"],
                    "segment": segments(table["day"].to_numpy()),
                    "following": pa.array(np.full(len(table), NO_MORE)),
                }
            )
            for name, table in self.seen.items()
        }
        part = examples(pa.table(sums), values, grid, [cutoff], question, attributes, None)
        names = definitions(named(attributes, "numeric"), named(attributes, "categorical"), question)
        frame = pd.DataFrame({name: part.columns[name] for name in names})
        return np.asarray(part.customers)[part.customer], frame


def day_of(moment: datetime) -> int:
    """Days since 1970 in UTC. Raises ValueError where `moment` is no midnight."""
    seconds = int(moment.astimezone(UTC).timestamp())
    if seconds % SECONDS_A_DAY or moment.microsecond:
        raise ValueError(f"{moment} is no midnight in UTC: windows would not be whole days")
    return seconds // SECONDS_A_DAY


def place(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Integers:
    """The places of `values` in `among`, -1 where they are not."""
    return np.asarray(pc.index_in(values, among).cast(pa.int64()).fill_null(-1))


def _last_days(values: pa.ChunkedArray, customer: Integers, day: Integers) -> pa.Table:
    """The last day of each value of each customer, in order."""
    columns = [pa.array(customer), values.cast(pa.string()).combine_chunks(), pa.array(day)]
    held = pa.table(columns, names=["customer", "value", "day"]).filter(pc.is_valid(values))
    return _latest_of(held)


def _joined(table: pa.Table, more: pa.Table) -> pa.Table:
    """The later day of each value in either. Customers of whom `more` says nothing keep their rows as they are."""
    more = more.select(table.column_names).cast(table.schema)
    customer, new = table["customer"].to_numpy(), more["customer"].to_numpy()
    touched = np.zeros(max(customer.max(initial=-1), new.max(initial=-1)) + 1, bool)
    touched[new] = True
    theirs = pa.array(touched[customer])
    latest = _latest_of(pa.concat_tables([table.filter(theirs), more]))
    together = pa.concat_tables([table.filter(pc.invert(theirs)), latest])
    return together.take(pa.array(np.argsort(together["customer"].to_numpy(), kind="stable")))


def _latest_of(seen: pa.Table) -> pa.Table:
    found = seen.group_by(["customer", "value"]).aggregate([("day", "max")]).rename_columns(seen.column_names)
    return found.sort_by([("customer", "ascending"), ("value", "ascending")])


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


def _latest(names: Any) -> list[str]:
    return [name for name in names if name.startswith("latest_")]
