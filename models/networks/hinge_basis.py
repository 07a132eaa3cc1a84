"""Columns that let a straight line bend: what a linear model is given beside the prepared aggregates themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BENT = ("days_since_last_event", "days_since_first_event", "events_91", "overdue", "gap_mean")
KNOTS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Bends:
    """Hinges of some columns, and the products of those columns with one another."""

    columns: list[int]  # that bend
    knots: list[list[float]]  # where each of them does
    products: bool

    @classmethod
    def fit(
        cls,
        prepared: NDArray[np.float32],
        names: Sequence[str],
        bent: Sequence[str] = BENT,
        quantiles: Sequence[float] = KNOTS,
        products: bool = True,
    ) -> "Bends":
        """From the prepared aggregates [examples, names] of the training examples: those of the columns `bent` that
        there are bend at their `quantiles`.
        """
        columns = [names.index(name) for name in bent if name in names]
        knots = [np.unique(np.quantile(prepared[:, column], quantiles)).tolist() for column in columns]
        return cls(columns, knots, products)

    def widened(self, prepared: Any, numbers: Any = np) -> Any:
        """[..., names] to [..., names, then hinges by column and knot, then products]; `numbers` is the module whose
        arrays these are: NumPy, or `keras.ops` in a network.
        """
        bent = [prepared[..., column : column + 1] for column in self.columns]
        hinges = [numbers.maximum(one - np.array(knots), 0) for one, knots in zip(bent, self.knots, strict=True)]
        pairs = [(i, j) for i in range(len(bent)) for j in range(i)] if self.products else []
        return numbers.concatenate([prepared, *hinges, *(bent[i] * bent[j] for i, j in pairs)], axis=-1)
