"""Gates that remember from the start: chrono initialisation (Tallec and Ollivier, 2018).

A gate that keeps with probability k forgets over about 1 / (1 - k) steps. Drawing `log u` for the bias of what keeps,
with u uniform in [1, longest - 1], gives every unit a memory of its own, up to `longest` steps.
"""

from typing import Any

import numpy as np
from keras import initializers, ops


class Chrono(initializers.Initializer):
    """The bias of a Keras LSTM ([4 units]: enter, forget, candidate, leave) or GRU ([2, 3 units]: update, reset,
    candidate; the update gate is the one that keeps).
    """

    def __init__(self, longest: int, seed: int) -> None:
        self.longest, self.seed = longest, seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        gated_twice = len(shape) == 2
        units = shape[-1] // (3 if gated_twice else 4)
        memory = np.log(np.random.default_rng(self.seed).uniform(1, max(self.longest - 1, 2), units))
        bias = np.zeros(shape)
        if gated_twice:
            bias[0, :units] = memory
        else:
            bias[:units], bias[units : 2 * units] = -memory, memory
        return ops.convert_to_tensor(bias, dtype)
