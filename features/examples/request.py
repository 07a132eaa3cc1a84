"""Examples on their way to a dataset: whose, at which cutoff, their aggregates, and what they see."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from features.arrays import Floats, Integers, Mask
from features.spec import FeatureSpec

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class BuildRequest:
    """What is built: every customer eligible at each of `cutoffs`, ascending. With `labelled_until`, the moment that
    the revisions were read as of, examples have labels, and also those that were known at each of the earlier
    `label_moments`. Times are in microseconds since 1970 in UTC.
    """

    cutoffs: Integers
    spec: FeatureSpec
    labelled_until: int | None = None
    label_moments: Integers = field(default_factory=lambda: NONE)
    only_with_outcome: bool = False  # without who ended within the gap, or is known no more


@dataclass(frozen=True, eq=False)
class Examples:
    """All [examples]. `customer` is a position among the revisions' customers, `cutoff` one among the request's."""

    customer: Integers
    cutoff: Integers
    columns: dict[str, Floats]
    history: Integers  # a position among histories
    length: Integers  # events before the cutoff

    def select(self, rows: Integers | Mask) -> Self:
        columns = {name: values[rows] for name, values in self.columns.items()}
        arrays = (self.history[rows], self.length[rows])
        return type(self)(self.customer[rows], self.cutoff[rows], columns, *arrays)

    def then(self, others: Self) -> Self:
        columns = {name: np.concatenate([values, others.columns[name]]) for name, values in self.columns.items()}
        pairs = [(self.customer, others.customer), (self.cutoff, others.cutoff)]
        pairs += [(self.history, others.history), (self.length, others.length)]
        customer, cutoff, history, length = (np.concatenate(pair) for pair in pairs)
        return type(self)(customer, cutoff, columns, history, length)

    def of_pairs(self, customer: Integers, cutoff: Integers) -> Mask:
        """[examples]: whether they are among these (customer, cutoff) pairs."""
        size = max(int(self.cutoff.max(initial=0)), int(cutoff.max(initial=0))) + 1
        return np.isin(self.customer * size + self.cutoff, customer * size + cutoff)
