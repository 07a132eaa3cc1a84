"""Running totals over the rows of `features.aggregates.sums`: the sum over a window is a difference of two of them."""

import numpy as np
import pyarrow as pa

from features.aggregates.time_bins import TimeBins
from features.arrays import Floats, Integers

MONEY_UNITS = 10_000.0  # an amount in decimals of four places, as an integer


class RunningTotals:
    """The table of `sums_by_bin`, with running totals over its rows and each customer's place among them."""

    def __init__(self, table: pa.Table, bins: TimeBins) -> None:
        self._table, self._bins = table, bins
        customer = table["customer"].to_numpy()
        changes = np.diff(customer, prepend=customer[:1] - 1).astype(bool)
        self.starts = np.flatnonzero(changes)
        self.customers = customer[self.starts]
        self._row = np.cumsum(changes) - 1
        self._key = self._row * len(bins) + table["bin"].to_numpy()
        self._ends: dict[int, Integers] = {}
        self._totals: dict[str, Integers] = {}
        self._values: dict[str, Floats] = {}
        self._greatest: dict[str, Floats] = {}

    def has(self, name: str) -> bool:
        """Whether there is a column of that name."""
        return name in self._table.column_names

    def bin_before(self, moment: int) -> int:
        """The last bin whose times all lie before `moment`, which is a boundary."""
        return self._bins.before(moment)

    def end(self, moment: int) -> Integers:
        """[customers]: the number of rows up to and with each customer's last one before `moment`."""
        number = self.bin_before(moment)
        if number not in self._ends:
            keys = np.arange(len(self.starts)) * len(self._bins) + number
            self._ends[number] = np.searchsorted(self._key, keys, side="right")
        return self._ends[number]

    def total(self, name: str, start: Integers, end: Integers) -> Integers:
        """The sums of a column over the rows `[start, end)`; what overflows on the way returns on the way back."""
        if name not in self._totals:
            self._totals[name] = np.concatenate([[0], np.cumsum(integers(self._table[name]))])
        return self._totals[name][end] - self._totals[name][start]

    def money(self, name: str, start: Integers, end: Integers) -> Floats:
        """The sums of a column of money over the rows `[start, end)`."""
        return self.total(name, start, end) / MONEY_UNITS

    def greatest(self, name: str, end: Integers) -> Floats:
        """The greatest value of a column over the customer's rows before `end`; NaN where all are null."""
        if name not in self._greatest:
            values = floats(self._table[name]).copy()
            rows = self.starts[np.diff(self.starts, append=len(values)) > 1] + 1
            while len(rows):
                values[rows] = np.fmax(values[rows], values[rows - 1])
                rows = rows[rows + 1 < len(values)] + 1
                rows = rows[self._row[rows] == self._row[rows - 1]]
            self._greatest[name] = values
        return self._greatest[name][end - 1]

    def at(self, name: str, rows: Integers) -> Floats:
        """A column's values at `rows`; NaN where null."""
        if name not in self._values:
            self._values[name] = floats(self._table[name])
        return self._values[name][rows]

    def next_row(self, name: str, start: Integers, end: Integers) -> Integers:
        """The first row in `[start, end)` where a column is not null; -1 where there is none."""
        filled = np.flatnonzero(self._table[name].is_valid().to_numpy())
        following = np.append(filled, len(self._row))[np.searchsorted(filled, start)]
        return np.where(following < end, following, -1)

    def texts(self, name: str, rows: Integers) -> list[str | None]:
        """The texts of a column at `rows`; None where a row is -1."""
        return list(self._table[name].take(pa.array(rows, mask=rows < 0)).to_pylist())


def integers(column: pa.ChunkedArray) -> Integers:
    """A column of integers; null counts as 0."""
    return np.asarray(column.cast(pa.int64()).fill_null(0))


def floats(column: pa.ChunkedArray) -> Floats:
    """A column of numbers; null is NaN."""
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan))
