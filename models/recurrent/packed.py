"""Keras's recurrent layers with their loops over time written out: the same weights and outputs, less work.

Differentiating a loop step by step multiplies two small matrices for the gradient of every weight at every step. Here a
loop carries only what must be carried (the state forwards, its gradient backwards); all that does not depend on the
step before is one product over all steps: the inputs' part of the gates, the gradients of all weights. And only real
steps are worked on: a batch is *packed*, the longest history first, so that the histories still going at a step are the
first rows of all. On an accelerator Keras's own layers run, on cuDNN.

A packed array [real steps, ...] holds step 0 of every history, then step 1 of those that have one, and so on; `sizes`
[steps] says of how many.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras
import tensorflow as tf

from models.recurrent.cells.cell import Cell, Tensor

STEPS_A_TURN = 4  # of a loop: what a turn costs beside its steps is paid once for all of them
Step = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]


@cache  # networks of the same layers share their traced functions
def packed_layer(cell: Cell) -> type[keras.Layer]:
    """The layer that Keras ships for `cell`, run by the recurrence of `cell`."""

    # TensorFlow numbers the arguments of a custom gradient, so they are flat.
    @tf.custom_gradient
    def run(x: Tensor, sizes: Tensor, *states_and_weights: Tensor) -> tuple[Any, Any]:
        return cell.recurrence(x, sizes, states_and_weights[:-3], states_and_weights[-3:])

    # Keras stores weights under the name of the class: artefacts rely on it.
    bases = (_Packed, getattr(keras.layers, cell.keras_layer))
    return type(cell.keras_layer, bases, {"run": staticmethod(run)})


class _Packed:
    run: Callable[..., Any]
    cell: Any
    return_state: bool

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False, length: Any = None
    ) -> Any:
        """`sequences` [batch, steps, channels] to the states [batch, steps, units], and the last with `return_state`.
        With `length` [batch], each 1 or more and in place of a mask, the states past a history's end have no meaning.
        """
        if mask is not None or initial_state is None or tf.config.list_physical_devices("GPU"):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]
        batch, steps = tf.shape(sequences)[0], tf.shape(sequences)[1]
        length = tf.fill([batch], steps) if length is None else length
        order = tf.argsort(length, direction="DESCENDING", stable=True)
        real = tf.transpose(tf.sequence_mask(tf.gather(length, order), steps))
        step_and_row = tf.cast(tf.where(real), tf.int32)
        position = tf.stack([tf.gather(order, step_and_row[:, 1]), step_and_row[:, 0]], axis=1)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        states = type(self).run(
            tf.gather_nd(sequences, position),
            tf.reduce_sum(tf.cast(real, tf.int32), axis=1),
            *(tf.gather(state, order) for state in tf.nest.flatten(initial_state)),
            *(tf.identity(weight.value) for weight in weights),  # read, since a custom gradient takes no variable
        )
        padded = [tf.scatter_nd(position, state, [batch, steps, state.shape[-1]]) for state in tf.nest.flatten(states)]
        return (padded[0], *(state[:, -1] for state in padded)) if self.return_state else padded[0]


def loop(
    step: Step, states: tuple[Tensor, ...], widths: tuple[int, ...], sizes: Tensor, backwards: bool = False
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Call `step(at, *states)` at every step, first to last or `backwards`; `at` cuts a packed array to the rows of the
    step. It returns the states for the next step and arrays to keep, of these `widths`.

    Returns the last states of a loop that goes backwards, and what was kept at all steps, packed.
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
        tf.reshape(rows, [turns, STEPS_A_TURN, *rows.shape[1:]])
        for rows in (begins, extents, paddings if backwards else tf.zeros_like(begins))
    ]
    shapes = [tf.TensorShape([None, state.shape[-1]]) for state in states]
    # Each step's array is written apart: put together inside the loop they would be copied twice.
    all_kept = tuple(
        tf.TensorArray(states[0].dtype, turns * STEPS_A_TURN, infer_shape=False, element_shape=(None, width))
        for width in widths
    )

    def turn(count: Tensor, current: tuple[Tensor, ...], all_kept: tuple[Any, ...]) -> tuple[Any, ...]:
        number = turns - 1 - count if backwards else count
        steps = list(enumerate(zip(*(tf.unstack(rows[number]) for rows in by_turn), strict=True)))
        for offset, (begin, extent, change) in reversed(steps) if backwards else steps:
            # Forwards histories end and leave; backwards they enter, and nothing comes from after their end.
            current = tuple(tf.pad(state, change) if backwards else _cut(state, change, extent) for state in current)
            current, kept = step(partial(_cut, begin=begin, extent=extent), *current)
            position = number * STEPS_A_TURN + offset
            all_kept = tuple(array.write(position, rows) for array, rows in zip(all_kept, kept, strict=True))
        return count + 1, current, all_kept

    _, last, all_kept = tf.while_loop(
        lambda count, *_: count < turns,
        turn,
        (0, states, all_kept),
        shape_invariants=(tf.TensorShape([]), tuple(shapes), tuple(tf.TensorShape(None) for _ in widths)),
    )
    return last, [array.concat() for array in all_kept]


def _cut(rows: Tensor, begin: Tensor, extent: Tensor) -> Tensor:
    cut = tf.slice(rows, begin, extent)
    cut.set_shape([None, rows.shape[-1]])
    return cut


def previous_states(first: Tensor, states: Tensor, sizes: Tensor) -> Tensor:
    """The state that each step began with, packed."""
    earlier = tf.range(sizes[0], tf.reduce_sum(sizes)) - tf.repeat(sizes[:-1], sizes[1:])
    return tf.concat([first[: sizes[0]], tf.gather(states, earlier)], axis=0)


def no_rows(states: Tensor) -> Tensor:
    """The gradient of the states after the last step, which no history reaches."""
    return tf.zeros_like(states[:0])


def weight_gradients(
    x: Tensor, previous: Tensor, input_gates: Tensor, recurrent_gates: Tensor, w: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, w and u from those of `x w` and of `previous u`."""
    to_u = tf.matmul(previous, recurrent_gates, transpose_a=True)
    return tf.matmul(input_gates, w, transpose_b=True), tf.matmul(x, input_gates, transpose_a=True), to_u
