"""Backpropagation through time cut into stretches (Williams and Peng, 1990): the state goes on, the gradient does not.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from typing import Any

import tensorflow as tf
from keras import ops


def truncated(layer: type, every: int) -> type:
    """A Keras recurrent layer of that kind whose gradient, in training, reaches back to the beginning of the stretch of
    `every` steps that an answer lies in, and no further. Its answers are those of the layer itself.
    """
    return type(f"Truncated{layer.__name__}", (_Truncated, layer), {"every": every})


class _Truncated:
    every: int
    units: int

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        length: Any = None,
    ) -> Any:
        """`sequences` [batch, steps, channels] to states [batch, steps, units]."""
        if not training:
            return super().call(sequences, initial_state=initial_state, mask=mask, length=length)  # type: ignore[misc]
        steps = ops.shape(sequences)[1]
        stretches = -(-steps // self.every)
        padded = tf.pad(sequences, [[0, 0], [0, stretches * self.every - steps], [0, 0]])
        gathered = tf.TensorArray(sequences.dtype, stretches, element_shape=(None, self.every, self.units))

        def read(stretch: Any, states: list[Any], gathered: Any) -> tuple[Any, list[Any], Any]:
            begin = stretch * self.every
            stopped = [tf.stop_gradient(state) for state in states]
            given, states = self._stretch(padded[:, begin : begin + self.every], stopped)
            return stretch + 1, states, gathered.write(stretch, given)

        # The first stretch is read apart, so that the trainable first state learns.
        given, states = self._stretch(padded[:, : self.every], tf.nest.flatten(initial_state))
        _, _, gathered = tf.while_loop(
            lambda stretch, *_: stretch < stretches, read, (1, states, gathered.write(0, given))
        )
        whole = tf.transpose(gathered.stack(), [1, 0, 2, 3])
        return tf.reshape(whole, [ops.shape(sequences)[0], stretches * self.every, self.units])[:, :steps]

    def _stretch(self, steps: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        self.return_state = True
        try:
            given, *after = super().call(steps, initial_state=states, training=True)  # type: ignore[misc]
        finally:
            self.return_state = False
        return given, after
