"""Running sums over the rows of `features.aggregates.segments`, and each customer's place among them."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.grid import Grid
from features.dataset import Floats, Integers

MONEY_UNITS = 10_000.0  # an amount in decimals of four places, as an integer


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

    def money(self, name: str, start: Integers, end: Integers) -> Floats:
        """The sums of a column of money over the rows `[start, end)`."""
        return self.total(name, start, end) / MONEY_UNITS

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

    def next_row(self, name: str, start: Integers, end: Integers) -> Integers:
        """The first row in `[start, end)` where a column is not null; -1 where there is none."""
        held = np.flatnonzero(self._table[name].is_valid().to_numpy())
        found = np.append(held, len(self._row))[np.searchsorted(held, start)]
        return np.where(found < end, found, -1)

    def words(self, name: str, rows: Integers) -> list[str | None]:
        """The texts of a column at `rows`."""
        return list(self._table[name].take(pa.array(np.maximum(rows, 0))).to_pylist())


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
