"""Aggregates for a smooth model: on a logarithmic scale, standardised, and never null."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.sequences.encoding import signed_log

LIMIT = 6.0  # standardised values are clipped to ±LIMIT


@dataclass(frozen=True)
class Preparation:
    """Each column becomes `(sign(x) log(1 + |x|) - centre) / scale`, with the training median where it is undefined,
    and beside it a null indicator, where training saw both cases. Columns that do not vary in training are left out.
    """

    columns: list[str]
    median: list[float]  # of the logarithms
    centre: list[float]
    scale: list[float]
    sometimes_null: list[str]

    @classmethod
    def fit(cls, aggregates: pd.DataFrame) -> Self:
        """Everything from `aggregates`, which is the training examples' alone."""
        columns, median, centre, scale, sometimes_null = [], [], [], [], []
        for name in aggregates.columns:
            values = signed_log(aggregates[name].to_numpy(np.float64))
            null = np.isnan(values)
            if not null.all() and null.any():
                sometimes_null.append(name)
            defined = values[~null]
            if defined.size and defined.std() > 1e-9:
                median_value = float(np.median(defined))
                filled = np.where(null, median_value, values)
                columns.append(name)
                median.append(median_value)
                centre.append(float(filled.mean()))
                scale.append(float(filled.std()))
        if not columns and not sometimes_null:  # a model reads one column at least: one that is always 0
            columns, median, centre, scale = [str(aggregates.columns[0])], [0.0], [0.0], [sys.float_info.max]
        return cls(columns, median, centre, scale, sometimes_null)

    def transform(self, aggregates: pd.DataFrame) -> NDArray[np.float32]:
        """[examples, names]. Raises KeyError where a column of the training examples is missing."""
        values = signed_log(aggregates[self.columns].to_numpy(np.float64))
        values = (np.where(np.isnan(values), self.median, values) - self.centre) / self.scale
        null = np.isnan(aggregates[self.sometimes_null].to_numpy(np.float64))
        return np.hstack([np.clip(values, -LIMIT, LIMIT), null]).astype(np.float32)

    @property
    def names(self) -> list[str]:
        return [*self.columns, *(f"{name}_is_null" for name in self.sometimes_null)]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))
