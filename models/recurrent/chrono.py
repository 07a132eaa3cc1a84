"""Gates that remember from the start: chrono initialisation (Tallec and Ollivier, 2018).

A gate that keeps with probability k forgets over about 1 / (1 - k) steps. Drawing `log u` for the bias of what keeps,
with u uniform in [1, longest - 1], gives every unit a memory of its own, up to `longest` steps.
"""

from typing import Any

import numpy as np
from keras import initializers, ops

from models.recurrent.cells.cell import Cell


class Chrono(initializers.Initializer):
    """The bias of a cell with gates that keep, `units` wide."""

    def __init__(self, cell: Cell, units: int, longest: int, random_state: int) -> None:
        if cell.remember is None:
            raise ValueError(f"{cell.name} has no gate that keeps, so chrono means nothing to it")
        self.remember, self.units, self.longest, self.random_state = cell.remember, units, longest, random_state

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        random = np.random.default_rng(self.random_state)
        bias = np.zeros(shape)
        self.remember(bias, np.log(random.uniform(1, max(self.longest - 1, 2), self.units)))
        return ops.convert_to_tensor(bias, dtype)
