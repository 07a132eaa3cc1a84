"""Truncated backpropagation through time (Williams and Peng, 1990): the state goes on, the gradient does not."""

from functools import cache
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@cache  # networks of the same layers share their traced functions
def truncated(layer: type[keras.Layer], every: int) -> type[keras.Layer]:
    """A Keras recurrent layer of that kind whose gradient, in training, reaches back to the beginning of the `every`
    steps that an output lies in, and no further. Its outputs are those of the layer itself.
    """
    return type(f"Truncated{layer.__name__}", (_Truncated, layer), {"every": every})


class _Truncated:
    every: int
    units: int

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False, length: Any = None
    ) -> Any:
        """`sequences` [batch, steps, channels] to states [batch, steps, units]."""
        if not training:
            return super().call(sequences, initial_state=initial_state, mask=mask, length=length)  # type: ignore[misc]
        steps = ops.shape(sequences)[1]
        chunks = -(-steps // self.every)
        padded = tf.pad(sequences, [[0, 0], [0, chunks * self.every - steps], [0, 0]])
        gathered = tf.TensorArray(sequences.dtype, chunks, element_shape=(None, self.every, self.units))

        def read(chunk: Any, states: list[Any], gathered: Any) -> tuple[Any, list[Any], Any]:
            begin = chunk * self.every
            stopped = [tf.stop_gradient(state) for state in states]
            outputs, states = self._read(padded[:, begin : begin + self.every], stopped)
            return chunk + 1, states, gathered.write(chunk, outputs)

        # The first chunk is read outside the loop, so that the trainable first state learns.
        outputs, states = self._read(padded[:, : self.every], tf.nest.flatten(initial_state))
        _, _, gathered = tf.while_loop(lambda chunk, *_: chunk < chunks, read, (1, states, gathered.write(0, outputs)))
        whole = tf.transpose(gathered.stack(), [1, 0, 2, 3])
        return tf.reshape(whole, [ops.shape(sequences)[0], chunks * self.every, self.units])[:, :steps]

    def _read(self, steps: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """The states at all `steps`, and the last ones."""
        self.return_state = True
        try:
            outputs, *last = super().call(steps, initial_state=states, training=True)  # type: ignore[misc]
        finally:
            self.return_state = False
        return outputs, last
