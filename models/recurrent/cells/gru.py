"""The gated recurrent unit (Cho et al., 2014): two gates decide what of the state is kept and what is renewed.

    z, r = sigmoid(x W + b + h U + b')    update and reset gate
    n = tanh(x W + b + r (h U + b'))      candidate: the reset gate comes after the recurrent matrix
    h' = z h + (1 - z) n

The bias has two rows, b and b'; W, U and both rows hold the gates in this order.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from features.arrays import Floats
from models.base import Range
from models.recurrent.cells.cell import Cell, Floats32, Tensor, sigmoid_in_place
from models.recurrent.sequence_model import SequenceModel


def recurrence(x: Tensor, sizes: Tensor, first: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Any]:
    import tensorflow as tf

    from models.recurrent.packed import loop, no_rows, previous_states, weight_gradients

    w, u, b = weights
    units = u.shape[0]
    inputs = tf.matmul(x, w) + tf.concat([b[0, : 2 * units] + b[1, : 2 * units], b[0, 2 * units :]], axis=0)
    input_update, input_reset, input_candidate = tf.split(inputs, 3, axis=1)
    recurrent_bias = b[1, 2 * units :]

    def forward(at: Callable[[Tensor], Tensor], h: Tensor) -> Any:
        recurrent_update, recurrent_reset, recurrent = tf.split(tf.matmul(h, u), 3, axis=1)
        update = tf.sigmoid(at(input_update) + recurrent_update)
        reset = tf.sigmoid(at(input_reset) + recurrent_reset)
        recurrent = recurrent + recurrent_bias
        candidate = tf.tanh(at(input_candidate) + reset * recurrent)
        h = candidate + update * (h - candidate)
        return (h,), (h, update, reset, recurrent, candidate)

    _, (states, update, reset, recurrent, candidate) = loop(forward, tuple(first), (units,) * 5, sizes)

    def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
        previous = previous_states(first[0], states, sizes)
        to_candidate = (1 - update) * (1 - candidate**2)
        by_reset = to_candidate * reset
        factors = tf.concat(
            [(previous - candidate) * update * (1 - update), by_reset * (1 - reset) * recurrent, by_reset], axis=1
        )

        def backward(at: Callable[[Tensor], Tensor], carried: Tensor) -> Any:
            total = carried + at(upstream)
            gates = tf.concat([total, total, total], axis=1) * at(factors)
            return (total * at(update) + tf.matmul(gates, u, transpose_b=True),), (total, gates)

        (carried,), (total, recurrent_gates) = loop(
            backward, (no_rows(first[0]),), (units, 3 * units), sizes, backwards=True
        )
        input_gates = tf.concat([recurrent_gates[:, : 2 * units], total * to_candidate], axis=1)
        to_x, to_w, to_u = weight_gradients(x, previous, input_gates, recurrent_gates, w)
        to_b = tf.stack([tf.reduce_sum(input_gates, 0), tf.reduce_sum(recurrent_gates, 0)])
        return to_x, None, carried, to_w, to_u, to_b

    return states, gradient


def step(states: Sequence[Floats32], x: Floats32, u: Floats32, b: Floats32) -> None:
    (h,), units = states, len(u)
    recurrent = h @ u
    recurrent += b[1]
    gates, candidate = x[:, : 2 * units], recurrent[:, 2 * units :]
    gates += recurrent[:, : 2 * units]
    sigmoid_in_place(gates)
    candidate *= gates[:, units:]
    candidate += x[:, 2 * units :]
    np.tanh(candidate, out=candidate)
    h -= candidate
    h *= gates[:, :units]
    h += candidate


def remember(bias: Floats, memory: Floats) -> None:
    bias[0, : len(memory)] = memory  # of the update gate


class GRU(SequenceModel):
    cell: ClassVar[Cell] = Cell("gru", "GRU", ("h",), recurrence, step, remember)
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "chrono": None}
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256, "history"]}
