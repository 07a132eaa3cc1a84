"""The network: a recurrent layer reads each history once, causally; small heads read its state at every cutoff."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, initializers, layers, ops

from models.networks.heads import HeadConfig, StartAt, heads
from models.networks.hinge_basis import HingeBasis
from models.recurrent.cells.cell import Cell
from models.recurrent.hazard import Hazard
from models.recurrent.intervals import Intervals
from models.recurrent.packed import packed_layer
from models.recurrent.truncated import truncated

EMBEDDING = 8  # numbers that stand for one category
SHARE = 0.5  # of the state in a hybrid's logit, until validation says otherwise


@dataclass(frozen=True)
class InputConfig:
    """The sizes that follow from the data."""

    numeric: int  # channels of a step
    vocabularies: tuple[int, ...]  # known values of each categorical channel
    at_cutoff: int  # channels of the context that come from the history as a whole
    aggregates: int = 0  # channels of the context behind them: a hybrid's prepared aggregates


@dataclass(frozen=True)
class SurvivalConfig:
    intervals: Intervals
    horizons: tuple[int, ...]  # days
    gives_churn: bool  # else the head only teaches the state, and churn has a head of its own
    adjusted: bool  # whether the context, too, moves the rates


@dataclass(frozen=True)
class NetworkConfig:
    """`truncate` is how many steps at the most the gradient reaches back, `chrono` the longest memory, in steps, that
    gates start with. With a `wide` head, which reads the aggregates alone, churn is its logit and a share of what the
    other's is apart from it. Without the state (`with_state` False) the heads read the context alone, and churn is the
    wide head's: what is left of a hybrid when its history is taken away. Without `memory`, in a twin, the state at a
    cutoff is made from the context by a feed-forward layer of as many units, and everything else stays.
    """

    cell: Cell
    units: int
    inputs: InputConfig
    heads: HeadConfig
    survival: SurvivalConfig | None = None
    wide: HingeBasis | None = None
    chrono: int | None = None
    truncate: int | None = None
    with_state: bool = True
    memory: bool = True
    random_state: int = 0  # of `chrono`


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
    """`states` [batch, steps, channels] and `position` [batch, queries] to the states there, [batch, queries,
    channels]: row by row, where `ops.take_along_axis` looks up every number apart, in ten times the time.
    """

    def call(self, states: Any, position: Any) -> Any:
        return tf.gather(states, position, batch_dims=1)


class RealSteps(layers.Layer):
    """`states` [batch, steps, channels] to those within each history's `length` [batch], [real steps, channels]."""

    def call(self, states: Any, length: Any) -> Any:
        return tf.boolean_mask(states, tf.sequence_mask(length, tf.shape(states)[1]))


class Chrono(initializers.Initializer):
    """The bias of a cell whose gates remember from the start (Tallec and Ollivier, 2018).

    A gate that keeps with probability k forgets over about 1 / (1 - k) steps. Drawing `log u` for the bias of what
    keeps, with u uniform in [1, longest - 1], gives each of the `units` a memory of its own, up to `longest` steps.
    """

    def __init__(self, cell: Cell, units: int, longest: int, random_state: int) -> None:
        if cell.remember is None:
            raise ValueError(f"{cell.name} has no gate that keeps, so chrono means nothing to it")
        self.remember, self.units, self.longest, self.random_state = cell.remember, units, longest, random_state

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        random = np.random.default_rng(self.random_state)
        bias = np.zeros(shape)
        self.remember(bias, np.log(random.uniform(1, max(self.longest - 1, 2), self.units)))
        return ops.convert_to_tensor(bias, dtype)


class WideHead(layers.Layer):
    """A linear model on the hinge basis of a hybrid's aggregates: from the context [..., channels], whose channels from
    `first` on are the prepared aggregates, to churn logits [..., horizons]. Its weights are fitted apart, by
    `models.line`, and no gradient moves them.
    """

    def __init__(self, basis: HingeBasis, first: int, churn_bias: list[float], **options: Any) -> None:
        super().__init__(**options)
        self.basis, self.first = basis, first
        self.line = layers.Dense(
            len(churn_bias),
            kernel_initializer="zeros",
            bias_initializer=StartAt(churn_bias),
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.line.build((*input_shape[:-1], self._expand(ops.zeros((1, input_shape[-1]))).shape[-1]))

    def call(self, context: Any) -> Any:
        return self.line(self._expand(context))

    def _expand(self, context: Any) -> Any:
        return self.basis.expand(context[..., self.first :], ops)


class StateShare(layers.Layer):
    """Of two logits [..., horizons], the line's and a share of what the state's is apart from it. The share is found on
    validation, and no gradient moves it.
    """

    def build(self, input_shape: Any) -> None:
        self.share = self.add_weight(shape=(1,), initializer=initializers.Constant(SHARE), name="share")

    def call(self, logits: Any) -> Any:
        of_state, line = logits
        return line + self.share * (of_state - line)

    def load_own_variables(self, store: Any) -> None:
        if "0" in store:  # else the artefact is of the time when both weighed alike
            super().load_own_variables(store)


WideHead.__name__ = "Direct"  # Keras stores weights under the name of the class: artefacts rely on it


def build_network(config: NetworkConfig) -> keras.Model:
    """Inputs as `batches.HistoryReader.read` makes them; outputs as `heads.heads`, each [batch, queries, horizons], and
    with a survival head the `log_rate` [real steps, intervals] after every step, one history after the other; without
    memory [batch, queries, intervals] at every cutoff.
    """
    sizes = config.inputs
    inputs = {
        "numeric": keras.Input((None, sizes.numeric), name="numeric"),
        "categorical": keras.Input((None, len(sizes.vocabularies)), dtype="int32", name="categorical"),
        "length": keras.Input((), dtype="int32", name="length"),
        "position": keras.Input((None,), dtype="int32", name="position"),
        "context": keras.Input((None, sizes.at_cutoff + sizes.aggregates), name="context"),
    }
    states = _states(config, inputs) if config.memory else None
    queried, seen = None, inputs["context"]
    if not config.memory and not config.wide:  # of which the aggregates are for what replaces the state alone
        seen = seen[..., : sizes.at_cutoff]
    if config.with_state:
        if config.memory:
            queried = AtPosition(name="queried")(states, inputs["position"])
        else:
            queried = layers.Dense(config.units, activation="tanh", name="queried")(inputs["context"])
        seen = layers.Concatenate(name="seen")([queried, seen])
    outputs = heads(layers.Dropout(config.heads.dropout)(seen), config.heads)
    if config.survival:
        inputs["recency"] = keras.Input((None,), name="recency")
        real = RealSteps(name="real")(states, inputs["length"]) if config.memory else queried
        outputs |= _survival(config.survival, config.heads, (queried, seen, real), inputs["recency"])
        if config.survival.gives_churn:
            outputs["churn"] = outputs["survival"]
    if config.wide:
        wide = WideHead(config.wide, sizes.at_cutoff, config.heads.churn_bias, name="wide")
        line = wide(inputs["context"])
        outputs["of_state"] = outputs["churn"]
        outputs["churn"] = StateShare(name="pooled")([outputs["of_state"], line]) if config.with_state else line
    if not config.with_state or not config.memory:
        inputs = {name: inputs[name] for name in ("context", "recency") if name in inputs}
    return keras.Model(inputs, outputs)


def _states(config: NetworkConfig, inputs: dict[str, KerasTensor]) -> KerasTensor:
    """[batch, steps, units]. The layer keeps its default activations and takes no mask (padding is on the right of all
    that is read), so that LSTM and GRU can run on cuDNN.
    """
    cell = config.cell
    embedded = [
        layers.Embedding(values + 1, EMBEDDING, name=f"embedding_{column}")(inputs["categorical"][:, :, column])
        for column, values in enumerate(config.inputs.vocabularies)
    ]
    steps = layers.Concatenate(name="steps")([inputs["numeric"], *embedded]) if embedded else inputs["numeric"]
    first = [InitialState(config.units, name=f"initial_{state}")(steps) for state in cell.states]
    options: dict[str, Any] = {}
    if config.chrono:
        chrono = Chrono(cell, config.units, config.chrono, config.random_state)
        options = {"bias_initializer": chrono, **cell.remember_options}
    kind: Any = packed_layer(cell)
    if config.truncate:
        kind = truncated(kind, config.truncate)
    layer = kind(config.units, return_sequences=True, name=cell.name, **options)
    return layer(steps, initial_state=first, length=inputs["length"])


def _survival(
    config: SurvivalConfig, head: HeadConfig, states: tuple[KerasTensor, ...], recency: KerasTensor
) -> dict[str, KerasTensor]:
    """`states` are those at the cutoffs, the same with the context, and those at which rates are learned."""
    queried, seen, real = states
    intervals = len(config.intervals.begins)
    hidden = layers.Dense(head.units, activation="relu", name="survival_hidden")
    rates = layers.Dense(intervals, bias_initializer=StartAt(config.intervals.log_rate), name="log_rate")

    def log_rate(states: KerasTensor) -> KerasTensor:
        return rates(layers.Dropout(head.dropout)(hidden(layers.Dropout(head.dropout)(states))))

    hazard = Hazard(config.intervals.begins, config.horizons, name="hazard")
    at_cutoff = log_rate(queried)
    if config.adjusted:
        adjusting = layers.Dense(head.units, activation="relu", name="adjusting")(layers.Dropout(head.dropout)(seen))
        adjustment = layers.Dense(intervals, kernel_initializer="zeros", name="adjustment")
        at_cutoff += adjustment(layers.Dropout(head.dropout)(adjusting))
    return {"log_rate": log_rate(real), "survival": hazard(at_cutoff, recency)}
