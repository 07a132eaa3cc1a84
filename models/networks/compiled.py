"""A network as functions of its weights: its outputs, and the gradient of its loss.

With the signatures written down, each function is traced once for all networks of an architecture.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from models.labels import HEADS
from models.networks.losses import cross_entropy, observed_mean, poisson, tweedie

Weights = NDArray[np.float32]  # [parameters]
VALUE_HEADS_WEIGHT = 0.3  # of the deviances of purchases and spend, beside the cross-entropy of churn
FORWARD_PADDED = 65_536  # padded steps in one batch at the most, where nothing is learned
FORWARD_BATCH = 256


class Reader(Protocol):
    """A dataset as a network reads it, batch by batch."""

    @property
    def examples(self) -> int: ...

    def cut(self, batch_size: int, max_padded: int, random: np.random.Generator | None = None) -> list[Integers]:
        """What to read together: shuffled if there is a `random`, else in the most economical order."""
        ...

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        """The network's inputs, by name, with the labels where there are any (NaN where not observed); and the example
        that each output belongs to (-1: none).
        """
        ...


def weights_of(network: keras.Model) -> Weights:
    """Those that are trained, one after the other."""
    return np.concatenate([weight.numpy().ravel() for weight in network.trainable_variables])


def fitted_apart(network: keras.Model) -> NDArray[np.bool_]:
    """Of each of `weights_of`, whether it belongs to a hybrid's line or its share, which no gradient moves."""
    of_layers = [variable.path.split("/")[0] in ("wide", "pooled") for variable in network.trainable_variables]
    sizes = [math.prod(variable.shape) for variable in network.trainable_variables]
    return np.repeat(of_layers, sizes)


def set_weights(network: keras.Model, weights: Weights) -> None:
    """The inverse of `weights_of`."""
    for weight in network.trainable_variables:
        values, weights = np.split(weights, [math.prod(weight.shape)])
        weight.assign(values.reshape(weight.shape))


@dataclass(frozen=True)
class Architecture:
    """What networks have in common that differ in their weights alone: `facts` is all that they were built of."""

    layers: tuple[type, ...]
    facts: str
    network: keras.Model = field(compare=False)  # one of them


@lru_cache(maxsize=8)  # tracing takes seconds, and networks of one architecture come one after the other
def compiled_for(architecture: Architecture, churn_weight: float, gap_weight: float) -> "Compiled":
    """The functions of all networks of `architecture`, kept for the next of them."""
    return Compiled(architecture.network, churn_weight, gap_weight)


class Compiled:
    """The functions of weights [parameters], each traced once: they serve every network of an architecture, in threads
    side by side too. `gap_weight` is that of the survival head's loss.
    """

    def __init__(self, network: keras.Model, churn_weight: float = 1.0, gap_weight: float = 0.0) -> None:
        self.network, self.churn_weight, self.gap_weight = network, churn_weight, gap_weight
        self.sizes = [math.prod(weight.shape) for weight in network.trainable_variables]
        self.learns_survival = bool(gap_weight) and "log_rate" in network.output
        # Rates are given after every event, [real steps, intervals], or at cutoffs, [batch, queries, intervals].
        self.truncated = self.learns_survival and len(network.output["log_rate"].shape) == 3
        labels = {name: tf.TensorSpec(network.output[name].shape, tf.float32) for name in HEADS}
        if self.learns_survival:
            times = tf.TensorSpec(network.output["log_rate"].shape[:-1], tf.float32)
            labels |= {"inter_event_days": times, "event_observed": times}
        inputs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
        self.read = inputs | labels
        weights = tf.TensorSpec((sum(self.sizes),), tf.float32)
        seeds = [tf.TensorSpec(seed.shape, seed.dtype) for seed in network.non_trainable_variables]
        # Autograph would rewrite every layer's source, which has nothing for it.
        self._outputs = tf.function(self._heads, input_signature=[inputs, weights], autograph=False)
        self.descent = tf.function(self._clipped, input_signature=[self.read, weights, seeds], autograph=False)

    def forward(self, reader: Reader, weights: Weights) -> dict[str, Floats]:
        """Each head's outputs for all examples of `reader`, [examples, horizons]."""
        outputs = {head: np.zeros((reader.examples, self.network.output[head].shape[-1])) for head in HEADS}
        constant = tf.constant(weights)
        for batch in reader.cut(FORWARD_BATCH, FORWARD_PADDED):
            arrays, example = reader.read(batch)
            for head, values in self._outputs({name: arrays[name] for name in self.network.input}, constant).items():
                outputs[head][example[example >= 0]] = values.numpy()[example >= 0]
        return outputs

    def loss_and_gradients(
        self, arrays: dict[str, tf.Tensor], weights: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """The loss of one batch, and its gradient for each of the network's trainable weights; `seeds` are the states
        of what draws at random, which come back moved on.
        """
        parts = self.parts(weights)
        with tf.GradientTape() as tape:
            tape.watch(parts)
            inputs = {name: arrays[name] for name in self.network.input}
            outputs, seeds = self.network.stateless_call(parts, seeds, inputs, training=True)
            loss = tf.constant(0.0)
            if self.churn_weight:  # else skip the layers that only the churn head uses
                own = outputs.get("of_state", outputs["churn"])  # a hybrid's line is fitted apart
                loss += self.churn_weight * observed_mean(arrays["churn"], own, cross_entropy)
            if self.learns_survival:
                observed = arrays["event_observed"]
                hazard = self.network.get_layer("hazard")
                since = arrays["recency"] if self.truncated else None
                losses = hazard.loss(outputs["log_rate"], arrays["inter_event_days"], observed, since)
                known = tf.reduce_sum(tf.cast(tf.math.is_finite(observed), tf.float32))
                loss += self.gap_weight * tf.reduce_sum(losses) / tf.maximum(known, 1.0)
            for head, deviance in (("purchases", poisson), ("spend", tweedie)):
                loss += VALUE_HEADS_WEIGHT * observed_mean(arrays[head], outputs[head], deviance)
        unread = tf.UnconnectedGradients.ZERO  # a weight that this loss does not reach
        return loss, tape.gradient(loss, parts, unconnected_gradients=unread), seeds

    def _clipped(
        self, arrays: dict[str, tf.Tensor], weights: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """The same with one gradient [parameters], each weight's share of it no longer than 1."""
        loss, gradients, seeds = self.loss_and_gradients(arrays, weights, seeds)
        clipped = [tf.reshape(tf.clip_by_norm(tf.convert_to_tensor(gradient), 1.0), [-1]) for gradient in gradients]
        return loss, tf.concat(clipped, axis=0), seeds

    def _heads(self, arrays: dict[str, tf.Tensor], weights: tf.Tensor) -> dict[str, tf.Tensor]:
        seeds = [seed.value for seed in self.network.non_trainable_variables]
        outputs, _ = self.network.stateless_call(self.parts(weights), seeds, arrays, training=False)
        return {head: outputs[head] for head in HEADS}

    def parts(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """Each of the network's trainable weights."""
        shaped = zip(tf.split(weights, self.sizes), self.network.trainable_variables, strict=True)
        return [tf.reshape(part, weight.shape) for part, weight in shaped]
