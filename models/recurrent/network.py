"""The network: a recurrent layer reads each history once, causally; a small head is asked at every cutoff on the way.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from models.heads import heads

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
EMBEDDING = 8  # numbers that stand for one category


@dataclass(frozen=True)
class Widths:
    """The sizes that follow from the data."""

    numeric: int  # channels of a step
    vocabularies: tuple[int, ...]  # known values of each categorical channel
    context: int  # channels at the cutoff: recency, and the aggregates in a hybrid
    horizons: int


class InitialState(layers.Layer):
    """A trainable first state `[batch, units]`, the same for every customer, instead of zeros."""

    def __init__(self, units: int, **options: object) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.state = self.add_weight(shape=(1, self.units), initializer="zeros", name="state")

    def call(self, steps: object) -> object:
        return ops.tile(self.state, [ops.shape(steps)[0], 1])


def build_network(
    widths: Widths, cell: str, units: int, head_units: int, dropout: float, churn_bias: list[float]
) -> keras.Model:
    """Inputs as `batches.HistoryReader.read` makes them; outputs as `heads.heads`, each [batch, asked, horizons].

    The layers keep their default activations and take no mask (padding is on the right of all that is asked), so that
    LSTM and GRU can run on cuDNN.
    """
    inputs = {
        "numeric": keras.Input((None, widths.numeric), name="numeric"),
        "categorical": keras.Input((None, len(widths.vocabularies)), dtype="int32", name="categorical"),
        "position": keras.Input((None,), dtype="int32", name="position"),
        "context": keras.Input((None, widths.context), name="context"),
    }
    embedded = [
        layers.Embedding(known + 1, EMBEDDING, name=f"embedding_{column}")(inputs["categorical"][:, :, column])
        for column, known in enumerate(widths.vocabularies)
    ]
    steps = layers.Concatenate(name="steps")([inputs["numeric"], *embedded]) if embedded else inputs["numeric"]
    first = [InitialState(units, name=f"initial_{part}")(steps) for part in (("h", "c") if cell == "lstm" else ("h",))]
    states = CELLS[cell](units, return_sequences=True, name=cell)(steps, initial_state=first)
    asked = ops.take_along_axis(states, inputs["position"][:, :, None], axis=1)
    seen = layers.Concatenate(name="seen")([asked, inputs["context"]])
    return keras.Model(inputs, heads(layers.Dropout(dropout)(seen), widths.horizons, head_units, dropout, churn_bias))
