"""Training a network: one explicit loop.

A loop of our own rather than `keras.Model.fit` over a `PyDataset`: Keras takes an axis as fixed when the first two
batches agree in it, and batches here differ in every axis.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.base import OnEpoch
from models.networks.compiled import Compiled, Reader, Weights, fitted_apart, set_weights, weights_of

OPTIMIZERS = ("adamw", "adam", "sgd")
AVERAGED_UPDATES = 100  # about so many last updates make the averaged weights
WARM_UP = 0.05  # the share of the planned training over which the learning rate rises
LEARNT = 0.99  # times the loss of a constant prediction, below which a network has learnt something


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
    max_padded: int  # padded steps in one batch at the most
    random_state: int

    def learning_rate_at(self, progress: float) -> float:
        """A linear rise, then half a cosine down to zero; `progress` is in [0, 1]."""
        return self.learning_rate * min(progress / WARM_UP, 1.0) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Validation:
    """The loss of some weights on validation, and that of a constant prediction."""

    loss: Callable[[Weights], float]
    of_constant: float


def train(
    update: "Update", validation: Validation | None, on_epoch: OnEpoch | None
) -> tuple[int, dict[str, list[float]]]:
    """Train the network of `update`, and leave it with the averaged weights of its best epoch: the one with the lowest
    loss on `validation`, evaluated after every epoch; without it, the last. Returns that epoch, from 1, and the curves.

    Patience is for what is learnt already: a network on a plateau, no better than a constant, has nothing to lose by
    going on, and what lies hundreds of steps back is learnt after such a plateau.

    What is judged and kept is a running average of the weights: much of what averaging over networks gives, at no cost.
    """
    plan = update.plan
    curves: dict[str, list[float]] = {}
    best_loss, best_epoch, best_weights = math.inf, 0, update.averaged_weights()
    for epoch in range(1, plan.epochs + 1):
        measures = {"train_loss": update.epoch(epoch)}
        averaged = update.averaged_weights()
        if validation is None:
            best_epoch, best_weights = epoch, averaged
        else:
            measures["valid_log_loss"] = validation.loss(averaged)
            if measures["valid_log_loss"] < best_loss:
                best_loss, best_epoch, best_weights = measures["valid_log_loss"], epoch, averaged
        for name, value in measures.items():
            curves.setdefault(name, []).append(value)
        if on_epoch:
            on_epoch(epoch, measures)
        learnt = validation is not None and best_loss < LEARNT * validation.of_constant
        if learnt and epoch - best_epoch >= plan.patience:
            break
    set_weights(update.network, best_weights)
    return best_epoch, curves


class Update:
    """One step of gradient descent on a network's weights [parameters], with a running average of them beside."""

    def __init__(self, network: keras.Model, compiled: Compiled, reader: Reader, plan: Plan) -> None:
        self.network, self.compiled, self.reader, self.plan = network, compiled, reader, plan
        self.weights = keras.Variable(weights_of(network), name="weights")
        self.average = tf.Variable(self.weights.value)
        self.fixed = fitted_apart(network)
        self.seeds = [tf.convert_to_tensor(seed.value) for seed in network.non_trainable_variables]
        self.optimizer = _optimizer(plan)
        self.optimizer.build([self.weights])
        self.updates = 0
        scalar = tf.TensorSpec((), tf.float32)
        signature = [tf.TensorSpec(self.weights.shape, tf.float32), scalar, scalar]
        self._apply = tf.function(self._applied, input_signature=signature, autograph=False)

    def epoch(self, epoch: int) -> float:
        """Every chunk once, in an order that `random_state` and the epoch decide. Returns the batches' mean loss."""
        plan = self.plan
        random = np.random.default_rng([plan.random_state, epoch])
        batches = self.reader.cut(plan.batch_size, plan.max_padded, random)
        losses = []
        for number, batch in enumerate(batches):
            progress = (epoch - 1 + (number + 0.5) / len(batches)) / plan.planned_epochs
            # The average is short at first, so that it does not remember the random beginning.
            keep = min(1 - 1 / AVERAGED_UPDATES, (1 + self.updates) / (10 + self.updates))
            self.updates += 1
            arrays, _ = self.reader.read(batch)
            losses.append(self.step(arrays, plan.learning_rate_at(progress), keep))
        return float(np.mean([loss.numpy() for loss in losses]))

    def step(self, arrays: Mapping[str, Any], learning_rate: float, keep: float) -> tf.Tensor:
        """Learn from one batch, as `Reader.read` gives it. Returns its loss."""
        read = {name: arrays[name] for name in self.compiled.read}
        loss, gradient, self.seeds = self.compiled.descent(read, self.weights.value, self.seeds)
        self._apply(gradient, np.float32(learning_rate), np.float32(keep))
        return loss

    def averaged_weights(self) -> Weights:
        return np.asarray(self.average.numpy())

    def _applied(self, gradient: tf.Tensor, learning_rate: tf.Tensor, keep: tf.Tensor) -> None:
        self.optimizer.learning_rate.assign(learning_rate)
        before = tf.identity(self.weights.value)
        self.optimizer.apply([gradient], [self.weights])
        if self.fixed.any():  # from the decay of the weights too
            self.weights.assign(tf.where(self.fixed, before, self.weights.value))
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
