"""What each input of a network adds to its logit: integrated gradients (Sundararajan, Taly and Yan, 2017).

On the straight way from an ordinary customer to the customer, each input is given its gradient, meaned over the way,
times the distance that it goes: what they are given adds up to the difference of the two logits. An ordinary step of a
history is training's mean (0 in every numeric channel, category unknown), and the first one of all is as the first one
of everybody; of what is known at the cutoff, and of aggregates, the median of the ordinary customers is ordinary.

The ordinary customer keeps the length of the customer's own history, for a network cannot read half a step. What the
length alone does is the difference between their logit and the median one of ordinary customers, each with a length of
their own; it goes to the events.

A survival head knows the silence by stretches, at whose ends the gradient jumps, so the silence goes last and at once:
it is given the difference that it makes when all else is the customer's own.

TensorFlow is imported at the top, so this module is imported only where a network is asked.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from features.dataset import Floats
from models.training import CELLS_WHEN_ASKED, CHUNKS_WHEN_ASKED, Reader

NODES = 16  # places on the way at which the gradient is taken: Gauss and Legendre's
NODES_OF_ROWS = 64  # where no history is read: it costs little, and hidden layers of two bend often
FIRST, LAST = np.zeros(1), np.ones(1)  # places of the ordinary customer and of the customer
ROWS_AT_ONCE, CELLS_AT_ONCE = 1_024, 131_072  # customers times places in one batch, and their padded steps, at the most
JOINED = "steps"  # the layer that joins numbers and embedded categories
HISTORY = ("numeric", "categorical")
PLACES = ("length", "position")  # where to read and to ask: no quantities
BEGINS = "gap_is_null"  # the channel that tells the first step
ROWS = "aggregates"  # [examples, columns]; what else is no history is [examples, asked, ...]
SILENCE = "silence"
LENGTH = "events"


def integrated_gradients(
    networks: Sequence[keras.Model],
    reader: Reader,
    ordinary: Reader,
    channels: Mapping[str, list[str]],
    horizon_index: int,
) -> pd.DataFrame | None:
    """[examples, channels], the names from `channels` (input -> names): see above. The logit is that of the mean
    probability of `networks`. Each chunk of the readers answers one example. None where a network reads categories
    otherwise than `recurrent.network` does.
    """
    inputs = [name for name in networks[0].input if name not in PLACES]
    embeds = "categorical" in inputs and bool(channels["categorical"])
    known = {layer.name for layer in networks[0].layers}
    if not set(inputs) <= set(channels) or (embeds and JOINED not in known):
        return None
    usual = _usual(ordinary, [name for name in inputs if name not in HISTORY])
    begins = tuple(name == BEGINS for name in channels.get("numeric", []))
    way = _way(tuple(networks), embeds, begins, horizon_index)
    found, names = way.walk(reader, usual), [name for given in inputs for name in channels[given]]
    if "numeric" in inputs:
        found = np.column_stack([found, way.begins(reader, usual) - np.median(way.begins(ordinary, usual))])
        names.append(LENGTH)
    return pd.DataFrame(found, columns=names)


@lru_cache(maxsize=1)
def _way(networks: tuple[keras.Model, ...], embeds: bool, begins: tuple[bool, ...], horizon_index: int) -> "_Way":
    """Kept for the next night of the same process: tracing it takes longer than walking it."""
    return _Way(networks, embeds, begins, horizon_index)


class _Way:
    """The way from the ordinary customer to each customer."""

    def __init__(
        self,
        networks: Sequence[keras.Model],
        embeds: bool,
        begins: Sequence[bool],
        horizon_index: int,
    ) -> None:
        self.inputs, self.kept, self.horizon_index = networks[0].input, list(begins), horizon_index
        self.joins: list[keras.Model] = []
        self.answers: list[tuple[list[str], keras.Model]] = []
        for network in networks:
            rest = {name: tensor for name, tensor in network.input.items() if name not in HISTORY}
            if "numeric" in network.input:
                steps = network.get_layer(JOINED).output if embeds else network.input["numeric"]
                history = {name: network.input[name] for name in HISTORY if name in network.input}
                self.joins.append(keras.Model(history, steps))
                rest[JOINED] = steps
            self.answers.append((list(rest), keras.Model(list(rest.values()), network.output["churn"])))
        read = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.inputs.items()}
        usual = {
            name: tf.TensorSpec(spec.shape[1 if name == ROWS else 2 :], spec.dtype)
            for name, spec in read.items()
            if name not in (*HISTORY, *PLACES)
        }
        signature = [read, usual, tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)]
        # Autograph would rewrite every layer's source, which has nothing for it.
        self.logit = tf.function(self._logit_at, input_signature=signature, autograph=False)
        self.slopes = tf.function(self._slopes_at, input_signature=signature, autograph=False)

    def walk(self, reader: Reader, usual: Mapping[str, Any]) -> Floats:
        """[examples, channels]: the contributions, in the order of the network's inputs."""
        places, weights = np.polynomial.legendre.leggauss(NODES if self.joins else NODES_OF_ROWS)
        found = np.asarray(np.moveaxis(self._ask(self.slopes, reader, usual, (places + 1) / 2), 1, -1) @ (weights / 2))
        if SILENCE in self.inputs:  # the last of the inputs
            last, before = (self._ask(self.logit, reader, usual, LAST, silent)[:, 0, 0] for silent in (1.0, 0.0))
            found[:, -1] = last - before
        return found

    def begins(self, reader: Reader, usual: Mapping[str, Any]) -> Floats:
        """[examples]: the logit of the ordinary customer with a history as long."""
        return self._ask(self.logit, reader, usual, FIRST)[:, 0, 0]

    def _ask(
        self, compiled: Any, reader: Reader, usual: Mapping[str, Any], places: Floats, silent: float = 0.0
    ) -> Floats:
        """[examples, places, columns]: what `compiled` says of each, all places at once."""
        said = np.zeros((reader.examples, len(places), 0))
        for batch in reader.cut(-(-ROWS_AT_ONCE // len(places)), CELLS_AT_ONCE // len(places)):
            arrays, example = reader.read(batch)
            given = {name: arrays[name] for name in self.inputs}
            here = compiled(given, dict(usual), places.astype(np.float32), np.float32(silent)).numpy()
            if not said.size:
                said = np.zeros((reader.examples, len(places), here.shape[1]))
            said[example.ravel()] = here.reshape(-1, len(places), here.shape[1])
        return said

    def _logit_at(
        self, arrays: dict[str, tf.Tensor], usual: dict[str, tf.Tensor], places: tf.Tensor, silent: tf.Tensor
    ) -> tf.Tensor:
        """[batch times places, 1]: the logit at `places` of [0, 1] on the way, the silence at `silent` of [0, 1]."""
        arrays = _at_each(arrays, places)
        return self._logit(arrays, self._between(arrays, usual, places, silent)[0])

    def _slopes_at(
        self, arrays: dict[str, tf.Tensor], usual: dict[str, tf.Tensor], places: tf.Tensor, silent: tf.Tensor
    ) -> tf.Tensor:
        """[batch times places, channels]: the logit's slopes there, times the distances."""
        arrays = _at_each(arrays, places)
        at, gone = self._between(arrays, usual, places, silent)
        with tf.GradientTape() as tape:
            tape.watch(at)
            logit = self._logit(arrays, at)
        slopes = tape.gradient(logit, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        total = [
            self._by_channel(name, tf.add_n([slope[name] * way[name] for slope, way in zip(slopes, gone, strict=True)]))
            for name in self._order()
        ]
        return tf.concat(total, axis=1)

    def _between(
        self, arrays: dict[str, tf.Tensor], usual: dict[str, tf.Tensor], places: tf.Tensor, silent: tf.Tensor
    ) -> tuple[list[dict[str, tf.Tensor]], list[dict[str, tf.Tensor]]]:
        """For each network where the way has come to, and how far it goes in all."""
        at, gone = [], []
        rows = tf.shape(next(iter(arrays.values())))[0]
        place = tf.tile(places, [rows // tf.shape(places)[0]])
        for member in range(len(self.answers)):
            start, end = self._ends(arrays, usual, member)
            gone.append({name: end[name] - start[name] for name in end})
            share = {
                name: silent if name == SILENCE else tf.reshape(place, [-1, *[1] * (len(way.shape) - 1)])
                for name, way in gone[-1].items()
            }
            at.append({name: start[name] + share[name] * gone[-1][name] for name in end})
        return at, gone

    def _logit(self, arrays: dict[str, tf.Tensor], at: list[dict[str, tf.Tensor]]) -> tf.Tensor:
        fixed = {name: arrays[name] for name in PLACES if name in arrays}
        logits = [
            answer([(fixed | given)[name] for name in names], training=False)[..., self.horizon_index]
            for (names, answer), given in zip(self.answers, at, strict=True)
        ]
        return tf.reshape(logits[0] if len(logits) == 1 else _logit_of_mean(logits), [-1, 1])

    def _ends(
        self, arrays: dict[str, tf.Tensor], usual: dict[str, tf.Tensor], member: int
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        end = {name: arrays[name] for name in usual}
        start = {name: tf.zeros_like(arrays[name]) + usual[name] for name in usual}
        if self.joins:
            read = {name: arrays[name] for name in self.joins[member].input}
            ordinary = {name: tf.zeros_like(values) for name, values in read.items()}
            ordinary["numeric"] = tf.where(self.kept, read["numeric"], 0.0)
            end[JOINED], start[JOINED] = self.joins[member](read), self.joins[member](ordinary)
        return start, end

    def _order(self) -> list[str]:
        """What is walked, in the order of the network's inputs."""
        walked = [name for name in self.inputs if name not in ("categorical", *PLACES)]
        return [JOINED if name == "numeric" else name for name in walked]

    def _by_channel(self, name: str, given: tf.Tensor) -> tf.Tensor:
        """[batch, channels]: summed over the steps, and over the numbers that stand for one category; of what is asked
        at one cutoff, that one.
        """
        if name == JOINED:
            summed = tf.reduce_sum(given, axis=1)
            numbers = self.inputs["numeric"].shape[-1]
            parts = [summed[:, :numbers]]
            columns = self.inputs["categorical"].shape[-1] if "categorical" in self.inputs else 0
            if columns:
                embedded = summed.shape[-1] - numbers
                parts.append(tf.reduce_sum(tf.reshape(summed[:, numbers:], [-1, columns, embedded // columns]), axis=2))
            return tf.concat(parts, axis=1)
        rank = len(self.inputs[name].shape)
        if name == SILENCE:
            return tf.reshape(given, [-1, 1])
        return given[:, 0] if rank == 3 else given


def _at_each(arrays: dict[str, tf.Tensor], places: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every row once for each of `places`, one after the other."""
    return {name: tf.repeat(values, tf.shape(places)[0], axis=0) for name, values in arrays.items()}


def _logit_of_mean(logits: list[tf.Tensor]) -> tf.Tensor:
    mean = tf.clip_by_value(tf.add_n([tf.sigmoid(logit) for logit in logits]) / len(logits), 1e-6, 1 - 1e-6)
    return tf.math.log(mean) - tf.math.log1p(-mean)


def _usual(reader: Reader, names: list[str]) -> dict[str, Any]:
    """The median of each input that is no history, [channels], or of a single number []."""
    seen: dict[str, list[Any]] = {name: [] for name in names}
    for batch in reader.cut(CHUNKS_WHEN_ASKED, CELLS_WHEN_ASKED):
        arrays, _ = reader.read(batch)
        for name in names:
            seen[name].append(arrays[name] if name == ROWS else arrays[name][:, 0])
    return {name: np.median(np.concatenate(parts), axis=0).astype(np.float32) for name, parts in seen.items()}
