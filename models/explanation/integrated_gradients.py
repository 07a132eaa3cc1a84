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

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from features.dataset import Floats
from models.networks.training import CELLS_WHEN_ASKED, CHUNKS_WHEN_ASKED, Compiled, Reader, Weights
from models.numerics import logit, sigmoid

NODES = 16  # places on the way at which the gradient is taken: Gauss and Legendre's
NODES_OF_ROWS = 64  # where no history is read: it costs little, and hidden layers of two bend often
FIRST, LAST = np.zeros(1), np.ones(1)  # places of the ordinary customer and of the customer
ROWS_AT_ONCE, CELLS_AT_ONCE = 1_024, 131_072  # customers times places in one batch, and their padded steps, at the most
JOINED = "steps"  # the layer that joins numbers and embedded categories
HISTORY = ("numeric", "categorical")
PLACES = ("length", "position")  # where to read and to ask: no quantities
MOST_LOGIT = 30.0  # past which a probability's distance from 0 or 1 is lost
BEGINS = "gap_is_null"  # the channel that tells the first step
ROWS = "aggregates"  # [examples, columns]; what else is no history is [examples, asked, ...]
SILENCE = "silence"
LENGTH = "events"


def integrated_gradients(
    compiled: Compiled,
    weights: Sequence[Weights],
    reader: Reader,
    ordinary: Reader,
    channels: Mapping[str, list[str]],
    horizon_index: int,
) -> pd.DataFrame | None:
    """[examples, channels], the names from `channels` (input -> names): see above. The logit is that of the mean
    probability of the networks with these `weights`. Each chunk of the readers answers one example. None where a
    network reads categories otherwise than `recurrent.network` does.
    """
    inputs = [name for name in compiled.network.input if name not in PLACES]
    embeds = "categorical" in inputs and bool(channels["categorical"])
    known = {layer.name for layer in compiled.network.layers}
    if not set(inputs) <= set(channels) or (embeds and JOINED not in known):
        return None
    usual = _usual(ordinary, [name for name in inputs if name not in HISTORY])
    begins = tuple(name == BEGINS for name in channels.get("numeric", []))
    way = _way(compiled, embeds, begins, horizon_index)
    found = way.walk(reader, usual, weights)
    names = [name for given in inputs for name in channels[given]]
    if "numeric" in inputs:
        of_length = way.logits(reader, usual, weights) - np.median(way.logits(ordinary, usual, weights))
        found = np.column_stack([found, of_length])
        names.append(LENGTH)
    return pd.DataFrame(found, columns=names)


@lru_cache(maxsize=1)
def _way(compiled: Compiled, embeds: bool, begins: tuple[bool, ...], horizon_index: int) -> "_Way":
    """Kept for the next network of the architecture, as that of the next night: tracing takes longer than walking."""
    return _Way(compiled, embeds, begins, horizon_index)


class _Given(NamedTuple):
    """What a network is asked: its inputs, the usual ones, the `places` of [0, 1] on the way, where the silence is at
    `silent` of [0, 1], and the network's weights.
    """

    arrays: dict[str, tf.Tensor]
    usual: dict[str, tf.Tensor]
    places: tf.Tensor
    silent: tf.Tensor
    weights: tf.Tensor

    def at_each_place(self) -> "_Given":
        """Every row once for each of `places`, one after the other."""
        times = tf.shape(self.places)[0]
        return self._replace(arrays={name: tf.repeat(rows, times, axis=0) for name, rows in self.arrays.items()})


class _Way:
    """The way from the ordinary customer to each customer, for all networks of an architecture."""

    def __init__(self, compiled: Compiled, embeds: bool, begins: Sequence[bool], horizon_index: int) -> None:
        network = compiled.network
        self.parts, self.weights = compiled.parts, network.trainable_variables
        self.inputs, self.kept, self.horizon_index = network.input, list(begins), horizon_index
        asked = {name: tensor for name, tensor in network.input.items() if name not in HISTORY}
        self.join: keras.Model | None = None
        if "numeric" in network.input:
            steps = network.get_layer(JOINED).output if embeds else network.input["numeric"]
            self.join = keras.Model({name: network.input[name] for name in HISTORY if name in network.input}, steps)
            asked[JOINED] = steps
        self.asked, self.answer = list(asked), keras.Model(list(asked.values()), network.output["churn"])
        read = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.inputs.items()}
        usual = {
            name: tf.TensorSpec(spec.shape[1 if name == ROWS else 2 :], spec.dtype)
            for name, spec in read.items()
            if name not in (*HISTORY, *PLACES)
        }
        own = tf.TensorSpec((sum(compiled.sizes),), tf.float32)
        signature = [_Given(read, usual, tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32), own)]
        # Autograph would rewrite every layer's source, which has nothing for it.
        self.logit = tf.function(self._logit_at, input_signature=signature, autograph=False)
        self.slopes = tf.function(self._slopes_at, input_signature=signature, autograph=False)

    def walk(self, reader: Reader, usual: Mapping[str, Any], weights: Sequence[Weights]) -> Floats:
        """[examples, channels]: the contributions, in the order of the network's inputs."""
        places, shares = np.polynomial.legendre.leggauss(NODES if self.join else NODES_OF_ROWS)

        def meaned(each: Floats) -> Floats:
            slopes = (_credit(each[..., :1]) * each[..., 1:]).sum(axis=0)
            return np.asarray(np.moveaxis(slopes, 1, -1) @ (shares / 2))

        found = self._ask(self.slopes, meaned, reader, usual, weights, (places + 1) / 2)
        if SILENCE in self.inputs:  # the last of the inputs
            last, before = (self.logits(reader, usual, weights, LAST, silent) for silent in (1.0, 0.0))
            found[:, -1] = last - before
        return found

    def logits(
        self,
        reader: Reader,
        usual: Mapping[str, Any],
        weights: Sequence[Weights],
        place: Floats = FIRST,
        silent: float = 0.0,
    ) -> Floats:
        """[examples]: the logit at `place`; by default that of the ordinary customer with a history as long."""
        return self._ask(self.logit, lambda each: _of_mean(each[..., 0, 0]), reader, usual, weights, place, silent)

    def _ask(
        self,
        function: Any,
        told: Callable[[Floats], Floats],
        reader: Reader,
        usual: Mapping[str, Any],
        weights: Sequence[Weights],
        places: Floats,
        silent: float = 0.0,
    ) -> Floats:
        """[examples, ...]: what is `told` of what `function` says of a batch, [networks, examples, places, columns]; of
        all at once it would be gigabytes.
        """
        found, examples = [], []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for batch in reader.cut(-(-ROWS_AT_ONCE // len(places)), CELLS_AT_ONCE // len(places)):
                arrays, example = reader.read(batch)
                read = {name: arrays[name] for name in self.inputs}
                given = [
                    _Given(read, dict(usual), places.astype(np.float32), np.float32(silent), own) for own in weights
                ]
                each = np.stack([said.numpy() for said in pool.map(function, given)])
                found.append(told(each.reshape(len(weights), -1, len(places), each.shape[-1]).astype(np.float64)))
                examples.append(example.ravel())
        return np.concatenate(found)[np.argsort(np.concatenate(examples))]

    def _logit_at(self, given: _Given) -> tf.Tensor:
        """[batch times places, 1]: the logit there."""
        given = given.at_each_place()
        return self._logit(given, self._between(given)[0])

    def _slopes_at(self, given: _Given) -> tf.Tensor:
        """[batch times places, 1 + channels]: the logit there, and its slopes times the distances."""
        given = given.at_each_place()
        at, way = self._between(given)
        with tf.GradientTape() as tape:
            tape.watch(at)
            logit = self._logit(given, at)
        slopes = tape.gradient(logit, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([logit, *(self._by_channel(name, slopes[name] * way[name]) for name in self._order())], axis=1)

    def _between(self, given: _Given) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Where the way has come to, and how far it goes in all."""
        arrays, usual, places, silent, weights = given
        end = {name: arrays[name] for name in usual}
        start = {name: tf.zeros_like(arrays[name]) + usual[name] for name in usual}
        if self.join is not None:
            read = {name: arrays[name] for name in self.join.input}
            ordinary = {name: tf.zeros_like(values) for name, values in read.items()}
            ordinary["numeric"] = tf.where(self.kept, read["numeric"], 0.0)
            end[JOINED], start[JOINED] = (self._of(self.join, each, weights) for each in (read, ordinary))
        rows = tf.shape(next(iter(arrays.values())))[0]
        place = tf.tile(places, [rows // tf.shape(places)[0]])
        way = {name: end[name] - start[name] for name in end}
        share = {
            name: silent if name == SILENCE else tf.reshape(place, [-1, *[1] * (len(gone.shape) - 1)])
            for name, gone in way.items()
        }
        return {name: start[name] + share[name] * way[name] for name in way}, way

    def _logit(self, given: _Given, at: dict[str, tf.Tensor]) -> tf.Tensor:
        read = {name: given.arrays[name] for name in PLACES if name in given.arrays} | at
        said = self._of(self.answer, [read[name] for name in self.asked], given.weights)
        return tf.reshape(said[..., self.horizon_index], [-1, 1])

    def _of(self, part: keras.Model, given: Any, weights: tf.Tensor) -> tf.Tensor:
        """What a part of the network makes of `given`, the network having these `weights`."""
        own = {id(weight): value for weight, value in zip(self.weights, self.parts(weights), strict=True)}
        seeds = [seed.value for seed in part.non_trainable_variables]
        said, _ = part.stateless_call(
            [own[id(each)] for each in part.trainable_variables], seeds, given, training=False
        )
        return said

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


def _of_mean(logits: Floats) -> Floats:
    """[networks, ...] to the logit of the networks' mean probability."""
    return logits[0] if len(logits) == 1 else logit(sigmoid(logits).mean(axis=0))


def _credit(logits: Floats) -> Floats:
    """[networks, ...]: by how much the logit of the networks' mean probability rises with each one's."""
    if len(logits) == 1:
        return np.ones_like(logits)
    probability = sigmoid(np.clip(logits, -MOST_LOGIT, MOST_LOGIT))
    mean = probability.mean(axis=0)
    return np.asarray(probability * (1 - probability) / (len(logits) * mean * (1 - mean)))


def _usual(reader: Reader, names: list[str]) -> dict[str, Any]:
    """The median of each input that is no history, [channels], or of a single number []."""
    seen: dict[str, list[Any]] = {name: [] for name in names}
    for batch in reader.cut(CHUNKS_WHEN_ASKED, CELLS_WHEN_ASKED):
        arrays, _ = reader.read(batch)
        for name in names:
            seen[name].append(arrays[name] if name == ROWS else arrays[name][:, 0])
    return {name: np.median(np.concatenate(parts), axis=0).astype(np.float32) for name, parts in seen.items()}
