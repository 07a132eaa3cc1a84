"""The network: a recurrent layer reads each history once, causally; a small head is asked at every cutoff on the way.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from models.networks.heads import StartAt, heads
from models.recurrent.chrono import Chrono
from models.recurrent.hazard import Hazard
from models.recurrent.layers import GRU, LSTM, SimpleRNN
from models.recurrent.truncated import truncated
from models.recurrent.wide_head import Direct

CELLS = {"simple_rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}
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


class AtPosition(layers.Layer):
    """`states` [batch, steps, channels] and `position` [batch, asked] to the states there, [batch, asked, channels]:
    row by row, where `ops.take_along_axis` looks up every number apart, backwards too, in ten times the time.
    """

    def call(self, states: Any, position: Any) -> Any:
        return tf.gather(states, position, batch_dims=1)


class RealSteps(layers.Layer):
    """`states` [batch, steps, channels] to those within each history's `length` [batch], [real steps, channels]."""

    def call(self, states: Any, length: Any) -> Any:
        return tf.boolean_mask(states, tf.sequence_mask(length, tf.shape(states)[1]))


@dataclass(frozen=True)
class Survival:
    """What the survival head needs to know: see `hazard.stretches`."""

    begins: list[float]  # days since the last event at which each stretch begins
    log_rate: list[float]  # of each stretch, over everybody: where training starts
    horizons: tuple[int, ...]  # days
    gives_churn: bool  # else the head only teaches the state, and churn has a head of its own
    adjusted: bool  # whether what is known at the cutoff beside the silence moves the rates


def build_network(
    widths: Widths,
    cell: str,
    units: int,
    head_units: int,
    dropout: float,
    churn_bias: list[float],
    survival: Survival | None = None,
    chrono: Chrono | None = None,
    truncate: int | None = None,
    with_state: bool = True,
    direct: Direct | None = None,
) -> keras.Model:
    """Inputs as `batches.HistoryReader.read` makes them; outputs as `heads.heads`, each [batch, asked, horizons], and
    with a survival head the `log_rate` [real steps, stretches] after every step of one history after the other.

    `truncate` is how many steps at the most the gradient reaches back. With a `direct` head, which reads the aggregates
    alone, churn is the mean of its logit and the other's. Without the state (`with_state` False) the heads see the
    context alone, and churn is the direct head's: what is left of a hybrid when its history is taken away.

    The layers keep their default activations and take no mask (padding is on the right of all that is asked), so that
    LSTM and GRU can run on cuDNN.
    """
    inputs = {
        "numeric": keras.Input((None, widths.numeric), name="numeric"),
        "categorical": keras.Input((None, len(widths.vocabularies)), dtype="int32", name="categorical"),
        "length": keras.Input((), dtype="int32", name="length"),
        "position": keras.Input((None,), dtype="int32", name="position"),
        "context": keras.Input((None, widths.context), name="context"),
    }
    embedded = [
        layers.Embedding(known + 1, EMBEDDING, name=f"embedding_{column}")(inputs["categorical"][:, :, column])
        for column, known in enumerate(widths.vocabularies)
    ]
    steps = layers.Concatenate(name="steps")([inputs["numeric"], *embedded]) if embedded else inputs["numeric"]
    first = [InitialState(units, name=f"initial_{part}")(steps) for part in (("h", "c") if cell == "lstm" else ("h",))]
    options: dict[str, Any] = {"bias_initializer": chrono} if chrono else {}
    if chrono and cell == "lstm":
        options["unit_forget_bias"] = False
    kind = truncated(CELLS[cell], truncate) if truncate else CELLS[cell]
    layer = kind(units, return_sequences=True, name=cell, **options)
    states = layer(steps, initial_state=first, length=inputs["length"])
    if with_state:
        asked = AtPosition(name="asked")(states, inputs["position"])
        seen = layers.Concatenate(name="seen")([asked, inputs["context"]])
    else:
        seen = inputs["context"]
    outputs = heads(layers.Dropout(dropout)(seen), widths.horizons, head_units, dropout, churn_bias)
    if survival:
        lasting = layers.Dense(head_units, activation="relu", name="lasting")
        rates = layers.Dense(len(survival.begins), bias_initializer=StartAt(survival.log_rate), name="log_rate")

        def log_rate(states: keras.KerasTensor) -> keras.KerasTensor:
            return rates(layers.Dropout(dropout)(lasting(layers.Dropout(dropout)(states))))

        hazard = Hazard(survival.begins, survival.horizons, name="hazard")
        inputs["silence"] = keras.Input((None,), name="silence")
        then = log_rate(asked)
        if survival.adjusted:
            told = layers.Dense(head_units, activation="relu", name="told")(layers.Dropout(dropout)(seen))
            then += layers.Dense(len(survival.begins), kernel_initializer="zeros", name="adjustment")(
                layers.Dropout(dropout)(told)
            )
        real = RealSteps(name="real")(states, inputs["length"])
        outputs |= {"log_rate": log_rate(real), "survival": hazard(then, inputs["silence"])}
        if survival.gives_churn:
            outputs["churn"] = outputs["survival"]
    if direct:
        outputs["direct"] = direct(inputs["context"])
        both = [outputs["churn"], outputs["direct"]]
        outputs["churn"] = layers.Average(name="pooled")(both) if with_state else outputs["direct"]
    if not with_state:
        inputs = {"context": inputs["context"]}
    return keras.Model(inputs, outputs)
