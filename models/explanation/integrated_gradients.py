"""What each input of a network adds to its logit: integrated gradients (Sundararajan, Taly and Yan, 2017).

On the straight path from a baseline customer to the customer, each input is credited with its mean gradient times the
distance that it moves: the credits add up to the difference of the two logits. A baseline step of a history is
training's mean (0 in every numeric channel, category unknown), and the first one of all is as everybody's first; of
what is known at the cutoff, and of aggregates, the baseline is the median of the baseline examples.

The baseline keeps the length of the customer's own history, since a network cannot read half a step. What the length
alone does is the difference between the baseline's logit and the median one of the baseline examples, each with a
length of its own; it is credited to the events.

A survival head reads the recency by intervals, at whose ends the gradient jumps, so recency moves last and at once: it
is credited with the difference that it makes when all else is the customer's own.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from features.arrays import Floats
from models.networks.compiled import FORWARD_BATCH, FORWARD_PADDED, Compiled, Reader, Weights
from models.numerics import logit, sigmoid

NODES = 16  # points on the path at which the gradient is taken: Gauss and Legendre's
NODES_OF_ROWS = 64  # where no history is read: it costs little, and two hidden layers have many kinks
BASELINE, CUSTOMER = np.zeros(1), np.ones(1)  # the ends of the path
ROWS_AT_ONCE, PADDED_AT_ONCE = 1_024, 131_072  # customers times points in one batch, and their padded steps
JOINED = "steps"  # the layer that joins numbers and embedded categories
HISTORY = ("numeric", "categorical")
POSITIONS = ("length", "position")  # where to read: no quantities
MOST_LOGIT = 30.0  # past which a probability's distance from 0 or 1 is lost
FIRST_STEP = "gap_is_null"  # the channel that marks the first step
ROWS = "aggregates"  # [examples, columns]; what else is no history is [examples, queries, ...]
RECENCY = "recency"
LENGTH = "events"


@dataclass(frozen=True)
class Explained:
    """The logit of the mean probability of some networks of one architecture, at the horizon of that index. `channels`
    are the names of each input's channels.
    """

    compiled: Compiled
    weights: Sequence[Weights]  # of each network
    channels: Mapping[str, list[str]]
    horizon_index: int


def integrated_gradients(explained: Explained, reader: Reader, baseline: Reader) -> pd.DataFrame:
    """[examples, channels]: see above. Each chunk of the readers holds one example."""
    network, channels = explained.compiled.network, explained.channels
    inputs = [name for name in network.input if name not in POSITIONS]
    embeds = "categorical" in inputs and bool(channels["categorical"])
    first_step = tuple(name == FIRST_STEP for name in channels.get("numeric", []))
    path = _path(explained.compiled, embeds, first_step, explained.horizon_index)
    typical = _medians(baseline, [name for name in inputs if name not in HISTORY])
    start = [_Query({}, typical, BASELINE, np.float32(0), weights) for weights in explained.weights]
    credits = path.credits(reader, start)
    names = [channel for name in inputs for channel in channels[name]]
    if "numeric" in inputs:
        of_length = path.logits(reader, start) - np.median(path.logits(baseline, start))
        credits = np.column_stack([credits, of_length])
        names.append(LENGTH)
    return pd.DataFrame(credits, columns=names)


@lru_cache(maxsize=1)
def _path(compiled: Compiled, embeds: bool, first_step: tuple[bool, ...], horizon_index: int) -> "_Path":
    """Kept for the next network of the architecture, as that of the next night: tracing takes longer than the work."""
    return _Path(compiled, embeds, first_step, horizon_index)


class _Query(NamedTuple):
    """A network's inputs, their baseline, the `points` in [0, 1] on the path, where the recency has come to (in [0, 1]
    as well), and the network's weights.
    """

    arrays: dict[str, tf.Tensor]
    baseline: dict[str, tf.Tensor]  # of each input that is no history
    points: tf.Tensor
    recency: tf.Tensor
    weights: tf.Tensor

    def at_each_point(self) -> "_Query":
        """Every row once for each of `points`, one after the other."""
        times = tf.shape(self.points)[0]
        return self._replace(arrays={name: tf.repeat(rows, times, axis=0) for name, rows in self.arrays.items()})


class _Path:
    """The path from the baseline to each customer, for all networks of an architecture."""

    def __init__(self, compiled: Compiled, embeds: bool, first_step: Sequence[bool], horizon_index: int) -> None:
        network = compiled.network
        self.parts, self.weights = compiled.parts, network.trainable_variables
        self.inputs, self.kept, self.horizon_index = network.input, list(first_step), horizon_index
        moved = {name: tensor for name, tensor in network.input.items() if name not in HISTORY}
        self.join: keras.Model | None = None
        if "numeric" in network.input:
            steps = network.get_layer(JOINED).output if embeds else network.input["numeric"]
            self.join = keras.Model({name: network.input[name] for name in HISTORY}, steps)
            moved[JOINED] = steps
        self.moved, self.churn = list(moved), keras.Model(list(moved.values()), network.output["churn"])
        read = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.inputs.items()}
        baseline = {
            name: tf.TensorSpec(spec.shape[1 if name == ROWS else 2 :], spec.dtype)
            for name, spec in read.items()
            if name not in (*HISTORY, *POSITIONS)
        }
        weights = tf.TensorSpec((sum(compiled.sizes),), tf.float32)
        signature = [_Query(read, baseline, tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32), weights)]
        # Autograph would rewrite every layer's source, which has nothing for it.
        self.logit = tf.function(self._logit_at, input_signature=signature, autograph=False)
        self.slopes = tf.function(self._slopes_at, input_signature=signature, autograph=False)

    def credits(self, reader: Reader, start: list[_Query]) -> Floats:
        """[examples, channels], in the order of the network's inputs."""
        points, shares = np.polynomial.legendre.leggauss(NODES if self.join else NODES_OF_ROWS)

        def mean(outputs: Floats) -> Floats:
            slopes = (_slope_of_mean(outputs[..., :1]) * outputs[..., 1:]).sum(axis=0)
            return np.asarray(np.moveaxis(slopes, 1, -1) @ (shares / 2))

        credits = self._evaluate(self.slopes, mean, reader, _at(start, (points + 1) / 2))
        if RECENCY in self.inputs:  # the last of the inputs
            after, before = (self.logits(reader, start, CUSTOMER, recency) for recency in (1.0, 0.0))
            credits[:, -1] = after - before
        return credits

    def logits(self, reader: Reader, start: list[_Query], point: Floats = BASELINE, recency: float = 0.0) -> Floats:
        """[examples]: the logit at `point`; by default that of the baseline with a history as long."""
        queries = _at(start, point, recency)
        return self._evaluate(self.logit, lambda outputs: _of_mean(outputs[..., 0, 0]), reader, queries)

    def _evaluate(
        self, function: Any, reduce: Callable[[Floats], Floats], reader: Reader, queries: list[_Query]
    ) -> Floats:
        """[examples, ...]: `reduce` of the outputs of `function` for a batch, [networks, examples, points, columns]; of
        all at once it would be gigabytes.
        """
        reduced, examples, points = [], [], len(queries[0].points)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for batch in reader.cut(-(-ROWS_AT_ONCE // points), PADDED_AT_ONCE // points):
                arrays, example = reader.read(batch)
                read = {name: arrays[name] for name in self.inputs}
                outputs = pool.map(function, [query._replace(arrays=read) for query in queries])
                stacked = np.stack([output.numpy() for output in outputs])
                reduced.append(reduce(stacked.reshape(len(queries), -1, points, stacked.shape[-1]).astype(np.float64)))
                examples.append(example.ravel())
        return np.concatenate(reduced)[np.argsort(np.concatenate(examples))]

    def _logit_at(self, query: _Query) -> tf.Tensor:
        """[batch times points, 1]: the logit there."""
        query = query.at_each_point()
        return self._logit(query, self._between(query)[0])

    def _slopes_at(self, query: _Query) -> tf.Tensor:
        """[batch times points, 1 + channels]: the logit there, and its slopes times the distances."""
        query = query.at_each_point()
        at, distance = self._between(query)
        with tf.GradientTape() as tape:
            tape.watch(at)
            logit = self._logit(query, at)
        slopes = tape.gradient(logit, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        channels = (self._by_channel(name, slopes[name] * distance[name]) for name in self._order())
        return tf.concat([logit, *channels], axis=1)

    def _between(self, query: _Query) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Where each input is at the points, and how far it moves in all."""
        arrays, baseline, points, recency, weights = query
        end = {name: arrays[name] for name in baseline}
        start = {name: tf.zeros_like(arrays[name]) + baseline[name] for name in baseline}
        if self.join is not None:
            read = {name: arrays[name] for name in self.join.input}
            blank = {name: tf.zeros_like(values) for name, values in read.items()}
            blank["numeric"] = tf.where(self.kept, read["numeric"], 0.0)
            end[JOINED], start[JOINED] = (self._call(self.join, history, weights) for history in (read, blank))
        rows = tf.shape(next(iter(arrays.values())))[0]
        point = tf.tile(points, [rows // tf.shape(points)[0]])
        distance = {name: end[name] - start[name] for name in end}
        share = {
            name: recency if name == RECENCY else tf.reshape(point, [-1, *[1] * (len(moved.shape) - 1)])
            for name, moved in distance.items()
        }
        return {name: start[name] + share[name] * distance[name] for name in distance}, distance

    def _logit(self, query: _Query, at: dict[str, tf.Tensor]) -> tf.Tensor:
        read = {name: query.arrays[name] for name in POSITIONS if name in query.arrays} | at
        logits = self._call(self.churn, [read[name] for name in self.moved], query.weights)
        return tf.reshape(logits[..., self.horizon_index], [-1, 1])

    def _call(self, part: keras.Model, arrays: Any, weights: tf.Tensor) -> tf.Tensor:
        """The output of a part of the network with these `weights`."""
        by_variable = {id(weight): value for weight, value in zip(self.weights, self.parts(weights), strict=True)}
        seeds = [seed.value for seed in part.non_trainable_variables]
        output, _ = part.stateless_call(
            [by_variable[id(variable)] for variable in part.trainable_variables], seeds, arrays, training=False
        )
        return output

    def _order(self) -> list[str]:
        """What is moved, in the order of the network's inputs."""
        names = [name for name in self.inputs if name not in ("categorical", *POSITIONS)]
        return [JOINED if name == "numeric" else name for name in names]

    def _by_channel(self, name: str, values: tf.Tensor) -> tf.Tensor:
        """[batch, channels]: summed over the steps, and over the numbers that stand for one category; of the context,
        that of the one query.
        """
        if name == JOINED:
            summed = tf.reduce_sum(values, axis=1)
            numbers = self.inputs["numeric"].shape[-1]
            columns = self.inputs["categorical"].shape[-1]
            if not columns:
                return summed
            embedded = tf.reshape(summed[:, numbers:], [-1, columns, (summed.shape[-1] - numbers) // columns])
            return tf.concat([summed[:, :numbers], tf.reduce_sum(embedded, axis=2)], axis=1)
        if name == RECENCY:
            return tf.reshape(values, [-1, 1])
        return values[:, 0] if len(self.inputs[name].shape) == 3 else values


def _at(start: list[_Query], points: Floats, recency: float = 0.0) -> list[_Query]:
    return [query._replace(points=points.astype(np.float32), recency=np.float32(recency)) for query in start]


def _of_mean(logits: Floats) -> Floats:
    """[networks, ...] to the logit of the networks' mean probability."""
    return logits[0] if len(logits) == 1 else logit(sigmoid(logits).mean(axis=0))


def _slope_of_mean(logits: Floats) -> Floats:
    """[networks, ...]: by how much the logit of the networks' mean probability rises with each one's."""
    if len(logits) == 1:
        return np.ones_like(logits)
    probability = sigmoid(np.clip(logits, -MOST_LOGIT, MOST_LOGIT))
    mean = probability.mean(axis=0)
    return np.asarray(probability * (1 - probability) / (len(logits) * mean * (1 - mean)))


def _medians(reader: Reader, names: list[str]) -> dict[str, Any]:
    """The median of each input that is no history, [channels], or of a single number []."""
    values: dict[str, list[Any]] = {name: [] for name in names}
    for batch in reader.cut(FORWARD_BATCH, FORWARD_PADDED):
        arrays, _ = reader.read(batch)
        for name in names:
            values[name].append(arrays[name] if name == ROWS else arrays[name][:, 0])
    return {name: np.median(np.concatenate(parts), axis=0).astype(np.float32) for name, parts in values.items()}
