"""Training a network, and asking it: one explicit loop.

A loop of our own rather than `keras.Model.fit` over a `PyDataset`: Keras takes an axis as fixed when the first two
batches agree in it, and batches here differ in every axis. With the signatures written down, each function is traced
once. Keras and TensorFlow are imported at the top, so this module is imported only where a network is built.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.dataset import Floats, Integers
from models.contract import OnEpoch

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
    churn_weight: float = 1.0  # of the cross-entropy of churn
    gap_weight: float = 0.0  # of the negative log likelihood of the gaps, for a network with a survival head

    def learning_rate_at(self, progress: float) -> float:
        """A linear rise, then half a cosine down to zero; `progress` is in [0, 1]."""
        return self.learning_rate * min(progress / WARM_UP, 1.0) * (1 + math.cos(math.pi * progress)) / 2


def train(
    network: keras.Model, plan: Plan, reader: Reader, valid_loss: Callable[[], float] | None, on_epoch: OnEpoch | None
) -> tuple[int, dict[str, list[float]]]:
    """Train `network`, and leave it with the averaged weights of its best epoch: the one with the lowest `valid_loss`,
    which is asked after every epoch; without it, the last. Returns that epoch, from 1, and the curves.

    What is judged and kept is a running average of the weights: much of what averaging over seeds gives, at no cost.
    """
    update = Update(network, reader, plan)
    curves: dict[str, list[float]] = {}
    best_loss, best_epoch, best_weights = math.inf, 0, update.averaged_weights()
    for epoch in range(1, plan.epochs + 1):
        measures = {"train_loss": update.epoch(epoch)}
        if valid_loss is None:
            best_epoch, best_weights = epoch, update.averaged_weights()
        else:
            running = update.replace_weights(update.averaged_weights())
            measures["valid_log_loss"] = valid_loss()
            averaged = update.replace_weights(running)
            if measures["valid_log_loss"] < best_loss:
                best_loss, best_epoch, best_weights = measures["valid_log_loss"], epoch, averaged
        for name, value in measures.items():
            curves.setdefault(name, []).append(value)
        if on_epoch:
            on_epoch(epoch, measures)
        if epoch - best_epoch >= plan.patience:
            break
    update.replace_weights(best_weights)
    return best_epoch, curves


def ask(network: keras.Model) -> Callable[[Reader], dict[str, Floats]]:
    """A function, compiled once, from a reader to each head's outputs for all its examples, [examples, horizons]."""

    @tf.function(input_signature=[_signature(network)], autograph=False)
    def compiled(arrays: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        given = network(arrays, training=False)
        return {head: given[head] for head in HEADS}

    def answers(reader: Reader) -> dict[str, Floats]:
        gathered = {head: np.zeros((reader.examples, network.output[head].shape[-1])) for head in HEADS}
        for batch in reader.cut(CHUNKS_WHEN_ASKED, CELLS_WHEN_ASKED):
            arrays, example = reader.read(batch)
            for head, values in compiled({name: arrays[name] for name in network.input}).items():
                gathered[head][example[example >= 0]] = values.numpy()[example >= 0]
        return gathered

    return answers


class Update:
    """One step of gradient descent, compiled once, with a running average of the weights beside it."""

    def __init__(self, network: keras.Model, reader: Reader, plan: Plan) -> None:
        self.network, self.reader, self.plan = network, reader, plan
        self.optimizer = _optimizer(plan)
        self.weights = network.trainable_variables
        self.optimizer.build(self.weights)
        self.average = [tf.Variable(weight.value) for weight in self.weights]
        self.updates = 0
        labels = {name: tf.TensorSpec(network.output[name].shape, tf.float32) for name in HEADS}
        self.learns_gaps = bool(plan.gap_weight) and "log_rate" in network.output
        if self.learns_gaps:
            labels |= {name: tf.TensorSpec((None, None), tf.float32) for name in ("gap", "ended")}
        self.read = _signature(network) | labels
        scalar = tf.TensorSpec((), tf.float32)
        # Autograph would rewrite every layer's source, which has nothing for it.
        self.compiled = tf.function(self._step, input_signature=[self.read, scalar, scalar], autograph=False)

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
            arrays = {name: arrays[name] for name in self.read}
            losses.append(self.compiled(arrays, np.float32(plan.learning_rate_at(progress)), np.float32(keep)))
        return float(np.mean([loss.numpy() for loss in losses]))

    def averaged_weights(self) -> list[NDArray[np.float32]]:
        return [average.numpy() for average in self.average]

    def replace_weights(self, weights: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Put `weights` into the network. Returns those that were there."""
        replaced = [weight.numpy() for weight in self.weights]
        for weight, value in zip(self.weights, weights, strict=True):
            weight.assign(value)
        return replaced

    def loss_and_gradients(self, arrays: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss of one batch, and its gradient for each of the network's trainable weights, before clipping."""
        with tf.GradientTape() as tape:
            answers = self.network({name: arrays[name] for name in self.network.input}, training=True)
            loss = self.plan.churn_weight * _observed_mean(arrays["churn"], answers["churn"], _cross_entropy)
            if "direct" in answers:
                loss += _observed_mean(arrays["churn"], answers["direct"], _cross_entropy)
                loss += tf.add_n(self.network.losses)  # what holds its slopes
            if self.learns_gaps:
                gaps = self.network.get_layer("hazard").loss(answers["log_rate"], arrays["gap"], arrays["ended"])
                known = tf.reduce_sum(tf.cast(tf.math.is_finite(arrays["ended"]), tf.float32))
                loss += self.plan.gap_weight * tf.reduce_sum(gaps) / tf.maximum(known, 1.0)
            for head, deviance in (("purchases", _poisson), ("spend", _tweedie)):
                loss += VALUE_HEADS_WEIGHT * _observed_mean(arrays[head], answers[head], deviance)
        return loss, tape.gradient(loss, [weight.value for weight in self.weights])

    def _step(self, arrays: dict[str, tf.Tensor], learning_rate: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
        loss, gradients = self.loss_and_gradients(arrays)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, self.weights)
        for average, weight in zip(self.average, self.weights, strict=True):
            average.assign(keep * average + (1 - keep) * weight.value)
        return loss


def _optimizer(plan: Plan) -> keras.optimizers.Optimizer:
    """AdamW and SGD (with Nesterov's momentum) let the weights decay apart from the gradient; Adam has no decay."""
    if plan.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=plan.weight_decay, clipnorm=1.0)
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(clipnorm=1.0)
    if plan.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=plan.weight_decay, clipnorm=1.0)
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


def _signature(network: keras.Model) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
