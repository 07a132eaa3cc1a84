"""Keras's SimpleRNN, LSTM and GRU with their loops over time written out: the same weights and answers, less work.

Differentiating a loop step by step multiplies two small matrices for the gradient of every weight at every step. Here a
loop carries only what must be carried (the state forwards, its gradient backwards); all that does not depend on the
step before is one product over all steps: the share of the input in the gates, the gradients of all weights. And only
real steps are worked on: a batch is *packed*, the longest history first, so that the histories still going at a step
are the first rows of all. On an accelerator Keras's own layers run, on cuDNN.

A packed array [real steps, ...] holds step 0 of every history, then step 1 of those that have one, and so on; `sizes`
[steps] says of how many. `w`, `u` and `b` are a cell's kernel, recurrent kernel and bias; states are [batch, units].
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf
from keras import layers

STEPS_A_TURN = 4  # of a loop: what a turn costs beside its steps is paid once for all of them
Tensor = Any
Run = Callable[..., tuple[Tensor, ...]]
Step = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]


def _loop(
    step: Step, states: tuple[Tensor, ...], widths: tuple[int, ...], sizes: Tensor, back: bool
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """`step(own, *states)` from the first step to the last, or backwards, where `own` cuts a packed array to the rows
    of the step. It gives the states for the next step and what is kept, of as many `widths`: the last states of a loop
    that goes backwards, and all that was kept, packed.
    """
    turns = -(-tf.shape(sizes)[0] // STEPS_A_TURN)
    sizes = tf.pad(sizes, [[0, turns * STEPS_A_TURN - tf.shape(sizes)[0]]])  # steps that nobody takes
    zeros = tf.zeros_like(sizes)
    # Worked out for all steps at once: in a loop each of these is an operation a step.
    begins = tf.stack([tf.cumsum(sizes, exclusive=True), zeros], axis=1)
    extents = tf.stack([sizes, zeros - 1], axis=1)
    entering = sizes - tf.concat([sizes[1:], [0]], axis=0)
    paddings = tf.reshape(tf.stack([zeros, entering, zeros, zeros], axis=1), [-1, 2, 2])
    by_turn = [
        tf.reshape(each, [turns, STEPS_A_TURN, *each.shape[1:]])
        for each in (begins, extents, paddings if back else tf.zeros_like(begins))
    ]
    kinds = [tf.TensorShape([None, state.shape[-1]]) for state in states]
    # Each step's on its own: put together here they would be copied twice.
    all_kept = tuple(
        tf.TensorArray(states[0].dtype, turns * STEPS_A_TURN, infer_shape=False, element_shape=(None, width))
        for width in widths
    )

    def turn(count: Tensor, now: tuple[Tensor, ...], all_kept: tuple[Any, ...]) -> tuple[Any, ...]:
        place = turns - 1 - count if back else count
        steps = list(enumerate(zip(*(tf.unstack(each[place]) for each in by_turn), strict=True)))
        for number, (begin, extent, change) in reversed(steps) if back else steps:
            # Forwards histories end and leave; backwards they enter, and nothing comes from after their end.
            now = tuple(tf.pad(state, change) if back else _cut(state, change, extent) for state in now)
            now, kept = step(partial(_cut, begin=begin, extent=extent), *now)
            at = place * STEPS_A_TURN + number
            all_kept = tuple(held.write(at, each) for held, each in zip(all_kept, kept, strict=True))
        return count + 1, now, all_kept

    _, last, all_kept = tf.while_loop(
        lambda count, *_: count < turns,
        turn,
        (0, states, all_kept),
        shape_invariants=(tf.TensorShape([]), tuple(kinds), tuple(tf.TensorShape(None) for _ in widths)),
    )
    return last, [held.concat() for held in all_kept]


def _cut(rows: Tensor, begin: Tensor, extent: Tensor) -> Tensor:
    part = tf.slice(rows, begin, extent)
    part.set_shape([None, rows.shape[-1]])
    return part


def _before(first: Tensor, states: Tensor, sizes: Tensor) -> Tensor:
    """What each step began with, packed."""
    earlier = tf.range(sizes[0], tf.reduce_sum(sizes)) - tf.repeat(sizes[:-1], sizes[1:])
    return tf.concat([first[: sizes[0]], tf.gather(states, earlier)], axis=0)


def _none(states: Tensor) -> Tensor:
    """The gradient of the state after the last step: no history is there yet."""
    return tf.zeros_like(states[:0])


def _weights(x: Tensor, before: Tensor, inner: Tensor, from_state: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, w and u from those of the gates: `inner` by way of the input, `from_state` of the state."""
    to_u = tf.matmul(before, from_state, transpose_a=True)
    return tf.matmul(inner, w, transpose_b=True), tf.matmul(x, inner, transpose_a=True), to_u


@tf.custom_gradient
def _simple_rnn(x: Tensor, sizes: Tensor, first: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Any]:
    given, units = tf.matmul(x, w) + b, u.shape[0]

    def forward(own: Callable[[Tensor], Tensor], h: Tensor) -> Any:
        h = tf.tanh(own(given) + tf.matmul(h, u))
        return (h,), (h,)

    _, (states,) = _loop(forward, (first,), (units,), sizes, back=False)

    def gradient(above: Tensor) -> tuple[Tensor, ...]:
        slope = 1 - states**2

        def back(own: Callable[[Tensor], Tensor], carried: Tensor) -> Any:
            inner = (carried + own(above)) * own(slope)
            return (tf.matmul(inner, u, transpose_b=True),), (inner,)

        (carried,), (inner,) = _loop(back, (_none(first),), (units,), sizes, back=True)
        to_x, to_w, to_u = _weights(x, _before(first, states, sizes), inner, inner, w)
        return to_x, None, carried, to_w, to_u, tf.reduce_sum(inner, 0)

    return states, gradient


@tf.custom_gradient
def _gru(x: Tensor, sizes: Tensor, first: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Any]:
    """Gates update, reset, candidate; the reset gate comes after the recurrent matrix; the bias has two rows."""
    units = u.shape[0]
    given = tf.matmul(x, w) + tf.concat([b[0, : 2 * units] + b[1, : 2 * units], b[0, 2 * units :]], axis=0)
    given_update, given_reset, given_candidate = tf.split(given, 3, axis=1)
    said_more = b[1, 2 * units :]

    def forward(own: Callable[[Tensor], Tensor], h: Tensor) -> Any:
        recalled_update, recalled_reset, said = tf.split(tf.matmul(h, u), 3, axis=1)
        update = tf.sigmoid(own(given_update) + recalled_update)
        reset = tf.sigmoid(own(given_reset) + recalled_reset)
        said = said + said_more
        candidate = tf.tanh(own(given_candidate) + reset * said)
        h = candidate + update * (h - candidate)
        return (h,), (h, update, reset, said, candidate)

    _, (states, update, reset, said, candidate) = _loop(forward, (first,), (units,) * 5, sizes, back=False)

    def gradient(above: Tensor) -> tuple[Tensor, ...]:
        before = _before(first, states, sizes)
        to_candidate = (1 - update) * (1 - candidate**2)
        by_reset = to_candidate * reset
        factors = tf.concat(
            [(before - candidate) * update * (1 - update), by_reset * (1 - reset) * said, by_reset], axis=1
        )

        def back(own: Callable[[Tensor], Tensor], carried: Tensor) -> Any:
            here = carried + own(above)
            inner = tf.concat([here, here, here], axis=1) * own(factors)
            return (here * own(update) + tf.matmul(inner, u, transpose_b=True),), (here, inner)

        (carried,), (here, from_state) = _loop(back, (_none(first),), (units, 3 * units), sizes, back=True)
        inner = tf.concat([from_state[:, : 2 * units], here * to_candidate], axis=1)
        to_x, to_w, to_u = _weights(x, before, inner, from_state, w)
        return to_x, None, carried, to_w, to_u, tf.stack([tf.reduce_sum(inner, 0), tf.reduce_sum(from_state, 0)])

    return states, gradient


@tf.custom_gradient
def _lstm(
    x: Tensor, sizes: Tensor, first: Tensor, first_cell: Tensor, w: Tensor, u: Tensor, b: Tensor
) -> tuple[Any, Any]:
    """Gates enter, forget, candidate, leave. Gives the states and the cells."""
    units = u.shape[0]
    given = tf.matmul(x, w) + b

    def forward(own: Callable[[Tensor], Tensor], h: Tensor, c: Tensor) -> Any:
        enter_forget, candidate, leave = tf.split(own(given) + tf.matmul(h, u), [2 * units, units, units], axis=1)
        enter_forget, candidate, leave = tf.sigmoid(enter_forget), tf.tanh(candidate), tf.sigmoid(leave)
        enter, forget = tf.split(enter_forget, 2, axis=1)
        c = forget * c + enter * candidate
        shown = tf.tanh(c)
        h = leave * shown
        return (h, c), (h, c, enter_forget, candidate, leave, shown)

    widths = (units, units, 2 * units, units, units, units)
    _, kept = _loop(forward, (first, first_cell), widths, sizes, back=False)
    states, cells, enter_forget, candidate, leave, shown = kept

    def gradient(above: Tensor, above_cell: Tensor) -> tuple[Tensor, ...]:
        before, before_cell = _before(first, states, sizes), _before(first_cell, cells, sizes)
        enter, forget = tf.split(enter_forget, 2, axis=1)
        by_cell = tf.concat(
            [candidate * enter * (1 - enter), before_cell * forget * (1 - forget), enter * (1 - candidate**2)], axis=1
        )
        to_cell, by_state = leave * (1 - shown**2), shown * leave * (1 - leave)

        def back(own: Callable[[Tensor], Tensor], carried: Tensor, carried_cell: Tensor) -> Any:
            here = carried + own(above)
            cell = carried_cell + own(above_cell) + here * own(to_cell)
            inner = tf.concat([tf.concat([cell, cell, cell], axis=1) * own(by_cell), here * own(by_state)], axis=1)
            return (tf.matmul(inner, u, transpose_b=True), cell * own(forget)), (inner,)

        nothing = _none(first), _none(first)
        (carried, carried_cell), (inner,) = _loop(back, nothing, (4 * units,), sizes, back=True)
        to_x, to_w, to_u = _weights(x, before, inner, inner, w)
        return to_x, None, carried, carried_cell, to_w, to_u, tf.reduce_sum(inner, 0)

    return (states, cells), gradient


class _Written:
    """What the three layers share: where to run their own loop, and the packing."""

    run: Run
    cell: Any
    return_state: bool

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        length: Any = None,
    ) -> Any:
        """`sequences` [batch, steps, channels] to the states [batch, steps, units], and the last where asked for. With
        `length` [batch], each 1 or more and in place of a mask, the states past a history's end are of no meaning.
        """
        if mask is not None or initial_state is None or tf.config.list_physical_devices("GPU"):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]
        batch, steps = tf.shape(sequences)[0], tf.shape(sequences)[1]
        length = tf.fill([batch], steps) if length is None else length
        order = tf.argsort(length, direction="DESCENDING", stable=True)
        real = tf.transpose(tf.sequence_mask(tf.gather(length, order), steps))
        step_and_row = tf.cast(tf.where(real), tf.int32)
        place = tf.stack([tf.gather(order, step_and_row[:, 1]), step_and_row[:, 0]], axis=1)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        found = type(self).run(
            tf.gather_nd(sequences, place),
            tf.reduce_sum(tf.cast(real, tf.int32), axis=1),
            *(tf.gather(state, order) for state in tf.nest.flatten(initial_state)),
            *(tf.identity(weight.value) for weight in weights),  # read, since a custom gradient takes no variable
        )
        parts = found if isinstance(found, (tuple, list)) else (found,)
        given = [tf.scatter_nd(place, part, [batch, steps, part.shape[-1]]) for part in parts]
        return (given[0], *(part[:, -1] for part in given)) if self.return_state else given[0]


class SimpleRNN(_Written, layers.SimpleRNN):
    run = staticmethod(_simple_rnn)


class LSTM(_Written, layers.LSTM):
    run = staticmethod(_lstm)


class GRU(_Written, layers.GRU):
    run = staticmethod(_gru)
