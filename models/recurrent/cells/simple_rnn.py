"""Elman's network (1990): `h' = tanh(x W + h U + b)`."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from models.recurrent.cells.cell import Cell, Floats32, Tensor
from models.recurrent.sequence_model import SequenceModel


def recurrence(x: Tensor, sizes: Tensor, first: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Any]:
    import tensorflow as tf

    from models.recurrent.packed import loop, no_rows, previous_states, weight_gradients

    w, u, b = weights
    units = u.shape[0]
    inputs = tf.matmul(x, w) + b

    def forward(at: Callable[[Tensor], Tensor], h: Tensor) -> Any:
        h = tf.tanh(at(inputs) + tf.matmul(h, u))
        return (h,), (h,)

    _, (states,) = loop(forward, tuple(first), (units,), sizes)

    def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
        slope = 1 - states**2

        def backward(at: Callable[[Tensor], Tensor], carried: Tensor) -> Any:
            gates = (carried + at(upstream)) * at(slope)
            return (tf.matmul(gates, u, transpose_b=True),), (gates,)

        (carried,), (gates,) = loop(backward, (no_rows(first[0]),), (units,), sizes, backwards=True)
        to_x, to_w, to_u = weight_gradients(x, previous_states(first[0], states, sizes), gates, gates, w)
        return to_x, None, carried, to_w, to_u, tf.reduce_sum(gates, 0)

    return states, gradient


def step(states: Sequence[Floats32], x: Floats32, u: Floats32, b: Floats32) -> None:
    (h,) = states
    x += h @ u
    np.tanh(x, out=h)


class SimpleRNN(SequenceModel):
    cell: ClassVar[Cell] = Cell("simple_rnn", "SimpleRNN", ("h",), recurrence, step)
    # Without gates, steps as long as a gated cell's throw it off its path.
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "learning_rate": 0.003}
