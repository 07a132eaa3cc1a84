"""Keras's SimpleRNN, LSTM and GRU with their loops over time written out: the same weights and answers, less work.

Differentiating a loop step by step multiplies two small matrices for the gradient of every weight at every step, and
keeps every gate of every step. Here a loop carries only what must be carried (the state forwards, its gradient
backwards); all that does not depend on the step before is one large product over all steps: the share of the input in
the gates, the gates again when going backwards, the gradients of all weights. On an accelerator Keras's own layers run,
on cuDNN.

`x` is [steps, batch, channels], states are [batch, units], `w`, `u` and `b` a cell's kernel, recurrent kernel and bias.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import layers

Tensor = Any
Run = Callable[..., tuple[Tensor, ...]]


def _loop(
    step: Callable[..., tuple[Tensor, ...]], states: tuple[Tensor, ...], steps: Tensor, back: bool
) -> list[Tensor]:
    """`step(at, *states)` from the first step to the last, or backwards; each state after every step, as [steps, ...]
    in the order of the steps.
    """
    kept = tuple(tf.TensorArray(state.dtype, steps, element_shape=state.shape) for state in states)

    def one(count: Tensor, now: tuple[Tensor, ...], kept: tuple[Any, ...]) -> tuple[Any, ...]:
        at = steps - 1 - count if back else count
        now = step(at, *now)
        return count + 1, now, tuple(array.write(at, state) for array, state in zip(kept, now, strict=True))

    _, _, kept = tf.while_loop(lambda count, *_: count < steps, one, (0, states, kept))
    return [array.stack() for array in kept]


def _before(first: Tensor, states: Tensor) -> Tensor:
    """What each step began with."""
    return tf.concat([first[None], states[:-1]], axis=0)


def _weights(x: Tensor, before: Tensor, inner: Tensor, from_state: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, w and u from those of the gates: `inner` by way of the input, `from_state` of the state."""
    flat, gates = tf.reshape(x, [-1, x.shape[-1]]), tf.reshape(inner, [-1, inner.shape[-1]])
    own = tf.reshape(from_state, [-1, from_state.shape[-1]])
    to_x = tf.reshape(tf.matmul(gates, w, transpose_b=True), tf.shape(x))
    to_u = tf.matmul(tf.reshape(before, [-1, before.shape[-1]]), own, transpose_a=True)
    return to_x, tf.matmul(flat, gates, transpose_a=True), to_u


@tf.custom_gradient
def _simple_rnn(x: Tensor, first: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Any]:
    given, steps = _through(x, w) + b, tf.shape(x)[0]
    (states,) = _loop(lambda at, h: (tf.tanh(given[at] + tf.matmul(h, u)),), (first,), steps, back=False)

    def gradient(above: Tensor) -> tuple[Tensor, ...]:
        slope = 1 - states**2
        _, inner = _loop(
            lambda at, carried, _: _simple_back(carried, above[at], slope[at], u),
            (tf.zeros_like(first), tf.zeros_like(first)),
            steps,
            back=True,
        )
        to_x, to_w, to_u = _weights(x, _before(first, states), inner, inner, w)
        return to_x, tf.matmul(inner[0], u, transpose_b=True), to_w, to_u, tf.reduce_sum(inner, [0, 1])

    return states, gradient


def _simple_back(carried: Tensor, above: Tensor, slope: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    inner = (carried + above) * slope
    return tf.matmul(inner, u, transpose_b=True), inner


@tf.custom_gradient
def _gru(x: Tensor, first: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Any]:
    """Gates update, reset, candidate; the reset gate comes after the recurrent matrix; the bias has two rows."""
    units, steps = u.shape[0], tf.shape(x)[0]
    given = _through(x, w) + b[0]
    both, own = given[..., : 2 * units] + b[1, : 2 * units], given[..., 2 * units :]

    def forward(at: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        recalled = tf.matmul(h, u)
        gates = tf.sigmoid(both[at] + recalled[:, : 2 * units])
        update, reset = gates[:, :units], gates[:, units:]
        candidate = tf.tanh(own[at] + reset * (recalled[:, 2 * units :] + b[1, 2 * units :]))
        return (candidate + update * (h - candidate),)

    (states,) = _loop(forward, (first,), steps, back=False)

    def gradient(above: Tensor) -> tuple[Tensor, ...]:
        before = _before(first, states)
        recalled = _through(before, u)
        gates = tf.sigmoid(both + recalled[..., : 2 * units])
        update, reset = gates[..., :units], gates[..., units:]
        said = recalled[..., 2 * units :] + b[1, 2 * units :]
        candidate = tf.tanh(own + reset * said)
        to_candidate = (1 - update) * (1 - candidate**2)
        factors = tf.concat(
            [
                (before - candidate) * update * (1 - update),
                to_candidate * said * reset * (1 - reset),
                to_candidate * reset,
            ],
            axis=2,
        )

        def back(at: Tensor, carried: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            here = carried + above[at]
            gates = tf.concat([here, here, here], axis=1) * factors[at]
            return here * update[at] + tf.matmul(gates, u, transpose_b=True), here

        zeros = tf.zeros_like(first)
        carried, here = _loop(back, (zeros, zeros), steps, back=True)
        from_state = tf.tile(here, [1, 1, 3]) * factors
        inner = tf.concat([from_state[..., : 2 * units], here * to_candidate], axis=2)
        to_x, to_w, to_u = _weights(x, before, inner, from_state, w)
        to_b = tf.stack([tf.reduce_sum(inner, [0, 1]), tf.reduce_sum(from_state, [0, 1])])
        return to_x, carried[0], to_w, to_u, to_b

    return states, gradient


@tf.custom_gradient
def _lstm(x: Tensor, first: Tensor, first_cell: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Any, Any]:
    """Gates enter, forget, candidate, leave. Gives the states and the cells."""
    units, steps = u.shape[0], tf.shape(x)[0]
    given = _through(x, w) + b

    def forward(at: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = given[at] + tf.matmul(h, u)
        enter_forget, leave = tf.sigmoid(gates[:, : 2 * units]), tf.sigmoid(gates[:, 3 * units :])
        candidate = tf.tanh(gates[:, 2 * units : 3 * units])
        cell = enter_forget[:, units:] * c + enter_forget[:, :units] * candidate
        return leave * tf.tanh(cell), cell

    states, cells = _loop(forward, (first, first_cell), steps, back=False)

    def gradient(above: Tensor, above_cell: Tensor) -> tuple[Tensor, ...]:
        before, before_cell = _before(first, states), _before(first_cell, cells)
        gates = given + _through(before, u)
        enter, forget, leave = (tf.sigmoid(gates[..., k * units : (k + 1) * units]) for k in (0, 1, 3))
        candidate, shown = tf.tanh(gates[..., 2 * units : 3 * units]), tf.tanh(cells)
        by_cell = tf.concat(
            [
                candidate * enter * (1 - enter),
                before_cell * forget * (1 - forget),
                enter * (1 - candidate**2),
            ],
            axis=2,
        )
        to_cell, by_state = leave * (1 - shown**2), shown * leave * (1 - leave)

        def back(at: Tensor, carried: Tensor, carried_cell: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
            here = carried + above[at]
            cell = carried_cell + above_cell[at] + here * to_cell[at]
            inner = tf.concat([tf.concat([cell, cell, cell], axis=1) * by_cell[at], here * by_state[at]], axis=1)
            return tf.matmul(inner, u, transpose_b=True), cell * forget[at], inner

        zeros = tf.zeros_like(first)
        carried, carried_cell, inner = _loop(back, (zeros, zeros, tf.tile(zeros, [1, 4])), steps, back=True)
        to_x, to_w, to_u = _weights(x, before, inner, inner, w)
        return to_x, carried[0], carried_cell[0], to_w, to_u, tf.reduce_sum(inner, [0, 1])

    return (states, cells), gradient


def _through(x: Tensor, w: Tensor) -> Tensor:
    """[steps, batch, channels] times [channels, outputs], as one product."""
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), w)
    return tf.reshape(flat, tf.concat([tf.shape(x)[:2], [w.shape[-1]]], axis=0))


class _Written:
    """What the three layers share: where to run their own loop, and the order of axes."""

    run: Run
    cell: Any
    return_state: bool

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """`sequences` [batch, steps, channels] to the states [batch, steps, units], and the last where asked for."""
        if mask is not None or initial_state is None or tf.config.list_physical_devices("GPU"):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        found = type(self).run(
            tf.transpose(sequences, [1, 0, 2]),
            *tf.nest.flatten(initial_state),
            *(tf.identity(weight.value) for weight in weights),  # read, since a custom gradient takes no variable
        )
        parts = found if isinstance(found, (tuple, list)) else (found,)
        given = tf.transpose(parts[0], [1, 0, 2])
        return (given, *(part[-1] for part in parts)) if self.return_state else given


class SimpleRNN(_Written, layers.SimpleRNN):
    run = staticmethod(_simple_rnn)


class LSTM(_Written, layers.LSTM):
    run = staticmethod(_lstm)


class GRU(_Written, layers.GRU):
    run = staticmethod(_gru)
