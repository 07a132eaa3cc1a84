"""Columns that let a linear model follow curves: hinges and products beside the prepared aggregates themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BENT = ("days_since_last_event", "days_since_first_event", "events_91", "overdue", "gap_mean")
KNOTS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class HingeBasis:
    """Hinges of some columns, and the products of those columns with one another."""

    columns: list[int]  # that have hinges
    knots: list[list[float]]  # of each of them
    products: bool

    @classmethod
    def fit(
        cls,
        prepared: NDArray[np.float32],
        names: Sequence[str],
        bent: Sequence[str] = BENT,
        quantiles: Sequence[float] = KNOTS,
        products: bool = True,
    ) -> "HingeBasis":
        """From the prepared aggregates [examples, names] of the training examples: the columns `bent` that are
        there get hinges at their `quantiles`.
        """
        columns = [names.index(name) for name in bent if name in names]
        knots = [np.unique(np.quantile(prepared[:, column], quantiles)).tolist() for column in columns]
        return cls(columns, knots, products)

    def expand(self, prepared: Any, numbers: Any = np) -> Any:
        """[..., names] to [..., names, then hinges by column and knot, then products]; `numbers` is the module whose
        arrays these are: NumPy, or `keras.ops` in a network.
        """
        hinged = [prepared[..., column : column + 1] for column in self.columns]
        hinges = [
            numbers.maximum(column - np.array(knots), 0) for column, knots in zip(hinged, self.knots, strict=True)
        ]
        pairs = [(i, j) for i in range(len(hinged)) for j in range(i)] if self.products else []
        return numbers.concatenate([prepared, *hinges, *(hinged[i] * hinged[j] for i, j in pairs)], axis=-1)
