"""A small network of each cell with random weights and one batch, as the NumPy reference and Keras both read it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models import model_class
from models.networks.compiled import Compiled, set_weights, weights_of
from models.networks.heads import HeadConfig
from models.networks.training import Plan, Update
from models.recurrent.network import InputConfig, NetworkConfig, build_network
from tests.support.reference import Arrays

UNITS, HIDDEN, CHANNELS, CONTEXT, HORIZONS, HISTORIES, STEPS, QUERIES = 4, 5, 3, 2, 2, 3, 7, 3


@dataclass(frozen=True)
class Case:
    cell: str
    network: Any
    arrays: Arrays

    def values(self) -> Arrays:
        """The network's weights in float64, by the reference's names."""
        return _named({name: weight.numpy() for name, weight in self.variables().items()})

    def variables(self) -> dict[str, Any]:
        layer = self.network.get_layer
        own = layer(self.cell).cell
        cell = {"kernel": own.kernel, "recurrent": own.recurrent_kernel, "bias": own.bias}
        states = model_class(self.cell).cell.states
        first = {state: layer(f"initial_{state}").trainable_variables[0] for state in states}
        dense = {
            f"{head}_{part}": getattr(layer(head), part)
            for head in ("hidden", "churn", "purchases", "spend")
            for part in ("kernel", "bias")
        }
        return first | cell | dense

    def by_name(self, like_weights: list[Any]) -> Arrays:
        """What stands in the order of the network's trainable variables, by the reference's names."""
        place = {variable.path: at for at, variable in enumerate(self.network.trainable_variables)}
        found = {name: like_weights[place[variable.path]] for name, variable in self.variables().items()}
        return _named(found)

    def loss_and_gradients(self) -> tuple[float, Arrays]:
        seeds = [seed.value for seed in self.network.non_trainable_variables]
        given = self.tensors(), weights_of(self.network), seeds
        loss, gradients, _ = Compiled(self.network).loss_and_gradients(*given)
        return float(loss), self.by_name(gradients)

    def learn(self, optimizer: str, learning_rate: float, decay: float) -> None:
        """One step, by the compiled functions that training runs."""
        plan = Plan(optimizer, learning_rate, decay, 1, 1, 1, HISTORIES, 1, 0)
        update = Update(self.network, Compiled(self.network), None, plan)  # type: ignore[arg-type]  # nothing is read
        update.step(self.tensors(), learning_rate, 0.5)
        set_weights(self.network, update.weights.numpy())

    def tensors(self) -> dict[str, Any]:
        import tensorflow as tf

        whole = ("categorical", "length", "position")
        return {
            name: tf.constant(value, tf.int32 if name in whole else tf.float32) for name, value in self.arrays.items()
        }


def _named(values: dict[str, Any]) -> Arrays:
    """In float64; Keras keeps a first state as [1, units]."""
    double = {name: np.asarray(value, np.float64) for name, value in values.items()}
    return {name: value[0] if name in ("h", "c") else value for name, value in double.items()}


def small_network(cell: str, units: int, inputs: InputConfig, heads: HeadConfig, **more: Any) -> Any:
    """The untrained network of the model of that name."""
    return build_network(NetworkConfig(model_class(cell).cell, units, inputs, heads, **more))


def case(cell: str, seed: int) -> Case:
    """Some labels are not observed, one position is queried twice, and one history at its very first step."""
    random = np.random.default_rng(seed)
    network = small_network(cell, UNITS, InputConfig(CHANNELS, (), CONTEXT), HeadConfig(HIDDEN, 0.0, [0.0] * HORIZONS))
    for weight in network.trainable_variables:
        weight.assign(random.normal(size=weight.shape) * 0.45)
    shape = (HISTORIES, QUERIES, HORIZONS)
    arrays = {
        "numeric": random.normal(size=(HISTORIES, STEPS, CHANNELS)),
        "categorical": np.zeros((HISTORIES, STEPS, 0), int),
        "length": np.array([7, 6, 7]),
        "position": np.array([[0, 3, 6], [2, 2, 5], [1, 4, 6]]),
        "context": random.normal(size=(HISTORIES, QUERIES, CONTEXT)),
        "churn": random.integers(0, 2, shape).astype(float),
        "purchases": random.poisson(1.0, size=shape).astype(float),
        "spend": random.gamma(1.0, size=shape),
    }
    for name in ("churn", "purchases", "spend"):
        arrays[name][0, 2, 1] = arrays[name][2, 0] = np.nan
    # What float32 cannot hold would be counted as a difference.
    return Case(cell, network, {name: np.asarray(a, np.float32).astype(a.dtype) for name, a in arrays.items()})
