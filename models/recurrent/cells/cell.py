"""What a cell's file says of its cell. NumPy alone is imported here, so that a model is known without TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats

Floats32 = NDArray[np.float32]
Tensor = Any  # TensorFlow has no types for mypy
HALF = np.float32(0.5)


@dataclass(frozen=True, eq=False)  # each is one of its kind
class Cell:
    """`w`, `u` and `b` are the kernel, recurrent kernel and bias of a cell as Keras lays them out; states are [rows,
    units], the first of them what the heads read.
    """

    name: str
    keras_layer: str  # the layer of `keras.layers` with the same weights
    states: tuple[str, ...]
    # (x [real steps, channels] packed, sizes [steps], first states, (w, u, b)) to the states at every step, packed, and
    # their gradient: what `tf.custom_gradient` wants. See `models.recurrent.packed`.
    recurrence: Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]], tuple[Any, Callable[..., Any]]]
    # (states, x w + b [rows, gates], u, b): one step in NumPy, which changes the states in place and may
    # overwrite `x w + b`.
    step: Callable[[Sequence[Floats32], Floats32, Floats32, Floats32], None]
    # (bias, memory [units]): writes `memory` into the bias of the gates that keep. None for a cell without such gates.
    remember: Callable[[Floats, Floats], None] | None = None
    remember_options: Mapping[str, Any] = field(default_factory=dict)  # of the Keras layer, where `remember` is used


def sigmoid_in_place(x: Floats32) -> None:
    x *= HALF
    np.tanh(x, out=x)
    x *= HALF
    x += HALF
