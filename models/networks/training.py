"""Training a network, and asking it: one explicit loop.

A loop of our own rather than `keras.Model.fit` over a `PyDataset`: Keras takes an axis as fixed when the first two
batches agree in it, and batches here differ in every axis. With the signatures written down, each function is traced
once. Keras and TensorFlow are imported at the top, so this module is imported only where a network is built.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.dataset import Floats, Integers
from models.base import OnEpoch

Weights = NDArray[np.float32]  # [parameters]
HEADS = ("churn", "purchases", "spend")
VALUE_HEADS_WEIGHT = 0.3  # of the deviances of purchases and spend, beside the cross-entropy of churn
OPTIMIZERS = ("adamw", "adam", "sgd")
AVERAGED_UPDATES = 100  # about so many last updates make the averaged weights
WARM_UP = 0.05  # the share of the planned training over which the learning rate rises
MOST_LOGARITHM = 20.0  # of an expected value in units of the mean, so that no exponential overflows
CELLS_WHEN_ASKED = 65_536  # padded steps in one batch at the most
CHUNKS_WHEN_ASKED = 256


class Reader(Protocol):
    """All that a network is told of a dataset, batch by batch."""

    @property
    def examples(self) -> int: ...

    def cut(self, batch_size: int, max_cells: int, random: np.random.Generator | None = None) -> list[Integers]:
        """What to read together: shuffled if there is a `random`, else in the most economical order."""
        ...

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        """The network's inputs, by name, with the labels where there are any (NaN where not observed); and the example
        that each answer belongs to (-1: none).
        """
        ...


@dataclass(frozen=True)
class Plan:
    """How a network is trained. The learning rate follows `planned_epochs`, also where training stops earlier."""

    optimizer: str  # one of OPTIMIZERS
    learning_rate: float
    weight_decay: float
    planned_epochs: int
    epochs: int
    patience: int
    batch_size: int
    max_cells: int  # padded steps in one batch at the most
    seed: int

    def learning_rate_at(self, progress: float) -> float:
        """A linear rise, then half a cosine down to zero; `progress` is in [0, 1]."""
        return self.learning_rate * min(progress / WARM_UP, 1.0) * (1 + math.cos(math.pi * progress)) / 2


def train(
    network: keras.Model,
    compiled: "Compiled",
    plan: Plan,
    reader: Reader,
    valid_loss: Callable[[Weights], float] | None,
    on_epoch: OnEpoch | None,
) -> tuple[int, dict[str, list[float]]]:
    """Train `network`, and leave it with the averaged weights of its best epoch: the one with the lowest `valid_loss`,
    which is asked after every epoch; without it, the last. Returns that epoch, from 1, and the curves.

    What is judged and kept is a running average of the weights: much of what averaging over seeds gives, at no cost.
    """
    update = Update(network, compiled, reader, plan)
    curves: dict[str, list[float]] = {}
    best_loss, best_epoch, best_weights = math.inf, 0, update.averaged_weights()
    for epoch in range(1, plan.epochs + 1):
        measures = {"train_loss": update.epoch(epoch)}
        averaged = update.averaged_weights()
        if valid_loss is None:
            best_epoch, best_weights = epoch, averaged
        else:
            measures["valid_log_loss"] = valid_loss(averaged)
            if measures["valid_log_loss"] < best_loss:
                best_loss, best_epoch, best_weights = measures["valid_log_loss"], epoch, averaged
        for name, value in measures.items():
            curves.setdefault(name, []).append(value)
        if on_epoch:
            on_epoch(epoch, measures)
        if epoch - best_epoch >= plan.patience:
            break
    set_weights(network, best_weights)
    return best_epoch, curves


def weights_of(network: keras.Model) -> Weights:
    """Those that are trained, one after the other."""
    return np.concatenate([weight.numpy().ravel() for weight in network.trainable_variables])


def set_weights(network: keras.Model, weights: Weights) -> None:
    """The inverse of `weights_of`."""
    for weight in network.trainable_variables:
        own, weights = np.split(weights, [math.prod(weight.shape)])
        weight.assign(own.reshape(weight.shape))


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
    """What a network answers, and the gradient of its loss, as functions of its weights [parameters], each traced once:
    they serve every network of its architecture, in threads side by side too.
    """

    def __init__(self, network: keras.Model, churn_weight: float = 1.0, gap_weight: float = 0.0) -> None:
        self.network, self.churn_weight, self.gap_weight = network, churn_weight, gap_weight
        self.sizes = [math.prod(weight.shape) for weight in network.trainable_variables]
        self.learns_gaps = bool(gap_weight) and "log_rate" in network.output
        labels = {name: tf.TensorSpec(network.output[name].shape, tf.float32) for name in HEADS}
        if self.learns_gaps:
            labels |= {name: tf.TensorSpec((None,), tf.float32) for name in ("gap", "ended")}
        asked = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
        self.read = asked | labels
        weights = tf.TensorSpec((sum(self.sizes),), tf.float32)
        seeds = [tf.TensorSpec(seed.shape, seed.dtype) for seed in network.non_trainable_variables]
        # Autograph would rewrite every layer's source, which has nothing for it.
        self._answer = tf.function(self._heads, input_signature=[asked, weights], autograph=False)
        self.descent = tf.function(self._clipped, input_signature=[self.read, weights, seeds], autograph=False)

    def ask(self, reader: Reader, weights: Weights) -> dict[str, Floats]:
        """Each head's outputs for all examples of `reader`, [examples, horizons]."""
        gathered = {head: np.zeros((reader.examples, self.network.output[head].shape[-1])) for head in HEADS}
        given = tf.constant(weights)
        for batch in reader.cut(CHUNKS_WHEN_ASKED, CELLS_WHEN_ASKED):
            arrays, example = reader.read(batch)
            for head, values in self._answer({name: arrays[name] for name in self.network.input}, given).items():
                gathered[head][example[example >= 0]] = values.numpy()[example >= 0]
        return gathered

    def loss_and_gradients(
        self, arrays: dict[str, tf.Tensor], weights: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """The loss of one batch, and its gradient for each of the network's trainable weights; `seeds` are the states
        of what draws at random, which come back moved on.
        """
        parts = self.parts(weights)
        with tf.GradientTape() as tape:
            tape.watch(parts)
            given = {name: arrays[name] for name in self.network.input}
            answers, seeds, held = self.network.stateless_call(parts, seeds, given, training=True, return_losses=True)
            loss = tf.constant(0.0)
            if self.churn_weight:  # without, nothing of what only churn is told by need be worked out
                loss += self.churn_weight * _observed_mean(arrays["churn"], answers["churn"], _cross_entropy)
            if "direct" in answers:
                loss += _observed_mean(arrays["churn"], answers["direct"], _cross_entropy)
                loss += tf.add_n(held)  # what holds its slopes
            if self.learns_gaps:
                gaps = self.network.get_layer("hazard").loss(answers["log_rate"], arrays["gap"], arrays["ended"])
                known = tf.reduce_sum(tf.cast(tf.math.is_finite(arrays["ended"]), tf.float32))
                loss += self.gap_weight * tf.reduce_sum(gaps) / tf.maximum(known, 1.0)
            for head, deviance in (("purchases", _poisson), ("spend", _tweedie)):
                loss += VALUE_HEADS_WEIGHT * _observed_mean(arrays[head], answers[head], deviance)
        unread = tf.UnconnectedGradients.ZERO  # a weight that this plan's loss does not reach
        return loss, tape.gradient(loss, parts, unconnected_gradients=unread), seeds

    def _clipped(
        self, arrays: dict[str, tf.Tensor], weights: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """The same with one gradient [parameters], each weight's share of it no longer than 1."""
        loss, gradients, seeds = self.loss_and_gradients(arrays, weights, seeds)
        clipped = [tf.reshape(tf.clip_by_norm(tf.convert_to_tensor(each), 1.0), [-1]) for each in gradients]
        return loss, tf.concat(clipped, axis=0), seeds

    def _heads(self, arrays: dict[str, tf.Tensor], weights: tf.Tensor) -> dict[str, tf.Tensor]:
        seeds = [seed.value for seed in self.network.non_trainable_variables]
        answers, _ = self.network.stateless_call(self.parts(weights), seeds, arrays, training=False)
        return {head: answers[head] for head in HEADS}

    def parts(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """Each of the network's trainable weights."""
        shapes = [weight.shape for weight in self.network.trainable_variables]
        parts = tf.split(weights, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


class Update:
    """One step of gradient descent on a network's weights [parameters], with a running average of them beside."""

    def __init__(self, network: keras.Model, compiled: Compiled, reader: Reader, plan: Plan) -> None:
        self.compiled, self.reader, self.plan = compiled, reader, plan
        self.weights = keras.Variable(weights_of(network), name="weights")
        self.average = tf.Variable(self.weights.value)
        self.seeds = [tf.convert_to_tensor(seed.value) for seed in network.non_trainable_variables]
        self.optimizer = _optimizer(plan)
        self.optimizer.build([self.weights])
        self.updates = 0
        scalar = tf.TensorSpec((), tf.float32)
        signature = [tf.TensorSpec(self.weights.shape, tf.float32), scalar, scalar]
        self._apply = tf.function(self._applied, input_signature=signature, autograph=False)

    def epoch(self, epoch: int) -> float:
        """Every chunk once, in an order that the seed and the epoch decide. Returns the mean loss of the batches."""
        plan = self.plan
        random = np.random.default_rng([plan.seed, epoch])
        batches = self.reader.cut(plan.batch_size, plan.max_cells, random)
        losses = []
        for place, batch in enumerate(batches):
            progress = (epoch - 1 + (place + 0.5) / len(batches)) / plan.planned_epochs
            # The average is short at first, so that it does not remember the random beginning.
            keep = min(1 - 1 / AVERAGED_UPDATES, (1 + self.updates) / (10 + self.updates))
            self.updates += 1
            arrays, _ = self.reader.read(batch)
            losses.append(self.step(arrays, plan.learning_rate_at(progress), keep))
        return float(np.mean([loss.numpy() for loss in losses]))

    def step(self, arrays: Mapping[str, Any], learning_rate: float, keep: float) -> tf.Tensor:
        """Learn from one batch, as `Reader.read` gives it. Returns its loss."""
        given = {name: arrays[name] for name in self.compiled.read}
        loss, gradient, self.seeds = self.compiled.descent(given, self.weights.value, self.seeds)
        self._apply(gradient, np.float32(learning_rate), np.float32(keep))
        return loss

    def averaged_weights(self) -> Weights:
        return np.asarray(self.average.numpy())

    def _applied(self, gradient: tf.Tensor, learning_rate: tf.Tensor, keep: tf.Tensor) -> None:
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply([gradient], [self.weights])
        self.average.assign(keep * self.average + (1 - keep) * self.weights.value)


def _optimizer(plan: Plan) -> keras.optimizers.Optimizer:
    """AdamW and SGD (with Nesterov's momentum) let the weights decay apart from the gradient; Adam has no decay."""
    if plan.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=plan.weight_decay)
    if plan.optimizer == "adam":
        return keras.optimizers.Adam()
    if plan.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=plan.weight_decay)
    raise ValueError(f"optimizer {plan.optimizer!r} is none of {', '.join(OPTIMIZERS)}")


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def _poisson(labels: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """The deviance of a count with mean `exp(answer)`, up to what depends on the label alone and a factor: its
    minimum is the mean, whatever the distribution, where squared errors of logarithms would find the median.
    """
    held = tf.clip_by_value(answers, -MOST_LOGARITHM, MOST_LOGARITHM)
    return tf.exp(held) - labels * held


def _tweedie(labels: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """The same for an amount that is often 0 and else has a long tail: Tweedie's deviance with power 1.5 (Jorgensen
    1987), `2 exp(a / 2) + 2 y exp(-a / 2)`. A wholesaler's order weighs less than it would in Poisson's.
    """
    held = tf.clip_by_value(answers, -MOST_LOGARITHM, MOST_LOGARITHM)
    return 2 * tf.exp(held / 2) + 2 * labels * tf.exp(-held / 2)


def _observed_mean(
    labels: tf.Tensor, answers: tf.Tensor, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """The mean loss over the labels that were observed; those that were not are NaN, and so are padded places."""
    observed = tf.math.is_finite(labels)
    losses = tf.where(observed, loss(tf.where(observed, labels, 0.0), answers), 0.0)
    return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(tf.cast(observed, tf.float32)), 1.0)
