"""Long short-term memory (Hochreiter and Schmidhuber, 1997): gates around a cell that can keep its content.

    i, f, o = sigmoid(x W + h U + b)    input, forget and output gate
    g = tanh(x W + h U + b)             candidate
    c' = f c + i g
    h' = o tanh(c')

W, U and b hold the gates in the order i, f, g, o.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from features.arrays import Floats
from models.base import Range
from models.recurrent.cells.cell import Cell, Floats32, Tensor, sigmoid_in_place
from models.recurrent.sequence_model import SequenceModel


def recurrence(x: Tensor, sizes: Tensor, first: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Any, Any]:
    import tensorflow as tf

    from models.recurrent.packed import loop, no_rows, previous_states, weight_gradients

    w, u, b = weights
    units = u.shape[0]
    inputs = tf.matmul(x, w) + b

    def forward(at: Callable[[Tensor], Tensor], h: Tensor, c: Tensor) -> Any:
        input_forget, candidate, output = tf.split(at(inputs) + tf.matmul(h, u), [2 * units, units, units], axis=1)
        input_forget, candidate, output = tf.sigmoid(input_forget), tf.tanh(candidate), tf.sigmoid(output)
        input_gate, forget = tf.split(input_forget, 2, axis=1)
        c = forget * c + input_gate * candidate
        squashed = tf.tanh(c)
        h = output * squashed
        return (h, c), (h, c, input_forget, candidate, output, squashed)

    widths = (units, units, 2 * units, units, units, units)
    _, (states, cells, input_forget, candidate, output, squashed) = loop(forward, tuple(first), widths, sizes)

    def gradient(upstream: Tensor, upstream_cell: Tensor) -> tuple[Tensor, ...]:
        previous, previous_cell = (
            previous_states(begin, after, sizes) for begin, after in zip(first, (states, cells), strict=True)
        )
        input_gate, forget = tf.split(input_forget, 2, axis=1)
        by_cell = tf.concat(
            [
                candidate * input_gate * (1 - input_gate),
                previous_cell * forget * (1 - forget),
                input_gate * (1 - candidate**2),
            ],
            axis=1,
        )
        to_cell, by_state = output * (1 - squashed**2), squashed * output * (1 - output)

        def backward(at: Callable[[Tensor], Tensor], carried: Tensor, carried_cell: Tensor) -> Any:
            total = carried + at(upstream)
            cell = carried_cell + at(upstream_cell) + total * at(to_cell)
            gates = tf.concat([tf.concat([cell, cell, cell], axis=1) * at(by_cell), total * at(by_state)], axis=1)
            return (tf.matmul(gates, u, transpose_b=True), cell * at(forget)), (gates,)

        nothing = no_rows(first[0]), no_rows(first[0])
        (carried, carried_cell), (gates,) = loop(backward, nothing, (4 * units,), sizes, backwards=True)
        to_x, to_w, to_u = weight_gradients(x, previous, gates, gates, w)
        return to_x, None, carried, carried_cell, to_w, to_u, tf.reduce_sum(gates, 0)

    return (states, cells), gradient


def step(states: Sequence[Floats32], x: Floats32, u: Floats32, b: Floats32) -> None:
    (h, c), units = states, len(u)
    x += h @ u
    candidate = np.tanh(x[:, 2 * units : 3 * units])
    sigmoid_in_place(x)
    c *= x[:, units : 2 * units]
    candidate *= x[:, :units]
    c += candidate
    np.tanh(c, out=h)
    h *= x[:, 3 * units :]


def remember(bias: Floats, memory: Floats) -> None:
    units = len(memory)
    bias[:units], bias[units : 2 * units] = -memory, memory


class LSTM(SequenceModel):
    cell: ClassVar[Cell] = Cell(
        "lstm", "LSTM", ("h", "c"), recurrence, step, remember, remember_options={"unit_forget_bias": False}
    )
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "chrono": None}
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256, "history"]}
