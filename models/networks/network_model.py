"""What every network does around its own layers: train, predict, save and load, with the same heads and loop."""

import json
import os
from abc import abstractmethod
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from features.arrays import Floats
from features.dataset import Dataset, Labels
from models.base import Model, OnEpoch, Predictions, Range
from models.labels import VALUES, base_rates, held_out_labels, observed_labels, observed_values
from models.networks.value_scale import ValueScale
from models.numerics import intercept_adjusted_loss, logit, ordered_by_horizon, sigmoid

if TYPE_CHECKING:
    import keras

    from models.networks.compiled import Compiled, Reader, Weights
    from models.networks.training import Plan, Validation

# Parameters that say how a network is trained and leave what it computes as it is.
NOT_BUILT_OF = (
    *("seeds", "epochs", "max_epochs", "patience", "learning_rate", "weight_decay", "optimizer"),
    *("strength", "state_share"),
)


class NetworkModel(Model):
    """A network with three heads a horizon: churn, purchases, spend. A model of this kind says what it reads
    (`_prepare`, `_reader`, its state as JSON) and how it is built (`_network`).

    The parameter `seeds` is the number of networks, each with a random state of its own, whose probabilities and values
    are averaged. `epochs` is what early stopping found, for each of them: a fit without validation trains for as long,
    at the same learning rates.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "learning_rate": 0.003,
        "max_epochs": 12,
        "epochs": None,
        "seeds": 1,
        "churn_weight": 1.0,
        "calendar": True,
        "categories": True,
        "patience": 3,
        "weight_decay": 1.0,
        "dropout": 0.2,
        "head_units": 64,
    }
    found_by_fit: ClassVar[tuple[str, ...]] = ("epochs",)
    space: ClassVar[dict[str, Range]] = {
        "learning_rate": (0.001, 0.012),
        "weight_decay": (0.01, 5.0),
        "dropout": (0.0, 0.6),
        "head_units": [32, 64, 128],
    }
    values: dict[str, ValueScale]  # of the outcomes that were observed in training
    networks: "list[keras.Model]"
    compiled: "Compiled"  # what they compute, as functions of their weights

    @property
    def spent(self) -> dict[str, int]:
        return {"networks": len(self.networks), "epochs": int(np.sum(self.parameters["epochs"]))}

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """Keras's random state is set first, so that two fits on a CPU are equal bit for bit. The weights kept are
        those of the epoch with the lowest intercept-adjusted log loss on `valid`, over all horizons. Several networks
        are trained side by side; `on_epoch` is called for the first, and if it raises, all stop.
        """
        labels = observed_labels(train.labels)
        self._prepare(train)
        self.values = {name: ValueScale.fit(getattr(labels, name)) for name in observed_values(labels)}
        rates = base_rates(labels.churn)
        self._build(np.log(rates / (1 - rates)).tolist())
        self._fit_line(train, valid)
        validation = None if valid is None else self._validation(valid)
        purchases, spend = (
            self.values[name].to_scale(getattr(labels, name)) if name in self.values else getattr(labels, name)
            for name in VALUES
        )
        scaled = Labels(labels.churn, purchases, spend)
        self._train(self._reader(train, scaled, training=True), validation, on_epoch)
        self._find_share(valid)
        raw = self.forward(self._reader(train, None, training=False))
        self.values = {name: scale.calibrated(getattr(labels, name), raw[name]) for name, scale in self.values.items()}

    def _validation(self, valid: Dataset) -> "Validation":
        from models.networks.training import Validation

        churn, reader = held_out_labels(valid.labels).churn, self._reader(valid, None, training=False)
        constant = intercept_adjusted_loss(churn, np.zeros_like(churn))
        return Validation(partial(_loss, self.compiled, reader, churn), constant)

    def _train(self, reader: "Reader", validation: "Validation | None", on_epoch: OnEpoch | None) -> None:
        from models.networks.training import Update, train

        planned, stopped = self._planned_epochs(validated=validation is not None), Event()

        def train_one(number: int) -> tuple[int, dict[str, list[float]]]:
            def after_epoch(epoch: int, measures: dict[str, float]) -> None:
                if number == 0 and on_epoch:
                    try:
                        on_epoch(epoch, measures)
                    except BaseException:
                        stopped.set()
                        raise
                elif stopped.is_set():
                    raise CancelledError

            update = Update(self.networks[number], self.compiled, reader, self._plan(planned[number], number))
            return train(update, validation, after_epoch)

        # One network's small steps leave a core idle now and then, and the last of three would have two for itself.
        with ThreadPoolExecutor(1 + (os.cpu_count() or 1)) as pool:
            trained = list(pool.map(train_one, range(len(self.networks))))
        for number, (_, curves) in enumerate(trained):
            self.curves |= {f"{name}_{number + 1}" if number else name: curve for name, curve in curves.items()}
        epochs = [best_epoch for best_epoch, _ in trained]
        self.parameters["epochs"] = epochs if len(epochs) > 1 else epochs[0]

    def _predict(self, data: Dataset) -> Predictions:
        return self.predictions(self.forward(self._reader(data, None, training=False)))

    def predictions(self, raw: dict[str, Floats]) -> Predictions:
        """The heads' raw outputs, as `forward` gives them, as predictions before calibration."""
        expected = {f"expected_{name}": scale.from_scale(raw[name]) for name, scale in self.values.items()}
        return Predictions(ordered_by_horizon(sigmoid(raw["churn"]), self.horizons), **expected)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """Integrated gradients: see `models.explanation.integrated_gradients`."""
        from models.explanation.integrated_gradients import Explained, integrated_gradients
        from models.networks.compiled import weights_of

        weights = [weights_of(network) for network in self.networks]
        explained = Explained(self.compiled, weights, self._channels(), horizon_index)
        return integrated_gradients(explained, *(self._reader(each, None, False) for each in (data, baseline)))

    def _save(self, folder: Path) -> dict[str, Any]:
        for number, network in enumerate(self.networks):
            network.save_weights(folder / _weights_file(number))
        return {"values": {name: asdict(scale) for name, scale in self.values.items()}, "state": self._state()}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        """The layers are built by this code and only their weights are read, so that nothing in a file is run."""
        self.values = {name: ValueScale(**scale) for name, scale in content["values"].items()}
        self._restore(content["state"])
        self._build([0.0] * len(self.horizons))
        for number, network in enumerate(self.networks):
            network.load_weights(folder / _weights_file(number))

    @abstractmethod
    def _prepare(self, train: Dataset) -> None:
        """Fit scalers and vocabularies on `train`."""

    @abstractmethod
    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> "Reader":
        """`data` as the network reads it. `labels` are on the network's scale."""

    @abstractmethod
    def _network(self, churn_bias: list[float], random_state: int) -> "keras.Model":
        """The untrained network, of the sizes that `_prepare` found."""

    @abstractmethod
    def _channels(self) -> dict[str, list[str]]:
        """For each input of the network, the names of its channels."""

    def _fit_line(self, train: Dataset, valid: Dataset | None) -> None:
        """Fit what is not learned by gradients, before the rest."""

    def _find_share(self, valid: Dataset | None) -> None:
        """Find by how much the trained networks move what `_fit_line` fitted."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_prepare` fitted, as JSON values."""

    def _constants(self) -> dict[str, Any]:
        """What `_network` computes with of that state, beside sizes and first weights, as JSON values. A scaler is
        none: it is applied to what the network then reads.
        """
        return {}

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of `_state`."""

    def _build(self, churn_bias: list[float]) -> None:
        import keras

        from models.networks.compiled import Architecture, compiled_for

        self.networks = []
        for number in range(self.parameters["seeds"]):
            keras.utils.set_random_seed(self._random_state_of(number))
            self.networks.append(self._network(churn_bias, self._random_state_of(number)))
        first = self.networks[0]
        built_of = {name: value for name, value in self.parameters.items() if name not in NOT_BUILT_OF}
        shapes = [list(weight.shape) for weight in first.trainable_variables]
        facts = json.dumps([type(self).__name__, self.horizons, built_of, shapes, self._constants()])
        architecture = Architecture(tuple(type(layer) for layer in first.layers), facts, first)
        loss_weights = self.parameters["churn_weight"], self.parameters.get("gap_weight", 0.0)
        self.compiled = compiled_for(architecture, *loss_weights)

    def forward(self, reader: "Reader") -> dict[str, Floats]:
        """Each head's raw output for all examples of `reader` [examples, horizons], averaged over the networks: churn
        is the logit of the mean probability, purchases and spend the logarithms of the mean expectations.
        """
        from models.networks.compiled import weights_of

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            weights = [weights_of(network) for network in self.networks]
            return self.average(list(pool.map(partial(self.compiled.forward, reader), weights)))

    @staticmethod
    def average(outputs: list[dict[str, Floats]]) -> dict[str, Floats]:
        """One raw output from those of several networks."""
        if len(outputs) == 1:
            return outputs[0]
        mean = {head: np.logaddexp.reduce([raw[head] for raw in outputs]) - np.log(len(outputs)) for head in VALUES}
        return mean | {"churn": logit(np.mean([sigmoid(raw["churn"]) for raw in outputs], axis=0))}

    def _random_state_of(self, network: int) -> int:
        return (self.random_state + 7_919 * network) % 2**32

    def _planned_epochs(self, validated: bool) -> list[int]:
        """For each network how long it trains at the most: with validation `max_epochs`, else as found."""
        found = self.parameters["epochs"] or self.parameters["max_epochs"]
        most = self.parameters["max_epochs"] if validated else found
        return most if isinstance(most, list) else [most] * self.parameters["seeds"]

    @property
    def _batch_size(self) -> int:
        """How many of what the reader cuts are in a batch."""
        size: int = self.parameters["batch_size"]
        return size

    def _plan(self, epochs: int, network: int) -> "Plan":
        from models.networks.training import Plan

        parameters = self.parameters
        return Plan(
            optimizer=parameters["optimizer"],
            learning_rate=parameters["learning_rate"],
            weight_decay=parameters["weight_decay"],
            planned_epochs=parameters["max_epochs"],
            epochs=epochs,
            patience=parameters["patience"],
            batch_size=self._batch_size,
            max_padded=self._batch_size * parameters.get("max_steps", 1),
            random_state=self._random_state_of(network),
        )


def _loss(compiled: "Compiled", reader: "Reader", churn: Floats, weights: "Weights") -> float:
    return intercept_adjusted_loss(churn, compiled.forward(reader, weights)["churn"])


def _weights_file(network: int) -> str:
    return f"network_{network}.weights.h5" if network else "network.weights.h5"
