"""Backpropagation through time cut into stretches (Williams and Peng, 1990): the state goes on, the gradient does not.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


class Truncated(keras.layers.Layer):
    """A recurrent layer whose gradient reaches back to the beginning of the stretch of `every` steps that an answer
    lies in, and no further. Answers, and scoring altogether, are those of the layer itself.
    """

    def __init__(self, recurrent: keras.layers.Layer, every: int, **options: Any) -> None:
        super().__init__(**options)
        self.recurrent, self.every = recurrent, every

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.recurrent.build(input_shape)

    def call(self, steps: Any, first: list[Any], training: bool = False) -> Any:
        """`steps` [batch, steps, channels] and the first states [batch, units] to states [batch, steps, units]."""
        self.recurrent.return_state = True
        if not training:
            return self.recurrent(steps, initial_state=first)[0]
        length = ops.shape(steps)[1]
        stretches = -(-length // self.every)
        padded = tf.pad(steps, [[0, 0], [0, stretches * self.every - length], [0, 0]])
        gathered = tf.TensorArray(steps.dtype, stretches, element_shape=(None, self.every, self.recurrent.units))

        def read(stretch: Any, states: list[Any], gathered: Any) -> tuple[Any, list[Any], Any]:
            begin = stretch * self.every
            given, *states = self.recurrent(
                padded[:, begin : begin + self.every], initial_state=[tf.stop_gradient(state) for state in states]
            )
            return stretch + 1, states, gathered.write(stretch, given)

        # The first stretch is read apart, so that the trainable first state learns.
        given, *states = self.recurrent(padded[:, : self.every], initial_state=first)
        _, _, gathered = tf.while_loop(
            lambda stretch, *_: stretch < stretches, read, (1, states, gathered.write(0, given))
        )
        whole = tf.transpose(gathered.stack(), [1, 0, 2, 3])
        flat = tf.reshape(whole, [ops.shape(steps)[0], stretches * self.every, self.recurrent.units])
        return flat[:, :length]
