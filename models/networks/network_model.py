"""What every network does around its own layers: train, predict, save and load, with the same heads and loop."""

import json
import os
from abc import abstractmethod
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from features.dataset import Dataset, Floats, Labels
from models.base import Model, OnEpoch, Predictions, Range
from models.numerics import (
    VALUES,
    ValueScale,
    base_rates,
    held_out_labels,
    levelled_loss,
    logit,
    observed_labels,
    ordered_by_horizon,
    sigmoid,
)

if TYPE_CHECKING:
    import keras

    from models.networks.training import Compiled, Reader, Weights

# Parameters that say how a network is trained and leave what it computes as it is.
NOT_BUILT_OF = ("seeds", "epochs", "max_epochs", "patience", "learning_rate", "weight_decay", "optimizer")


class NetworkModel(Model):
    """A network with three heads a horizon: churn, purchases, spend. A model of this kind says what it reads
    (`_prepare`, `_reader`, its state as JSON) and how it is built (`_network`).

    With `seeds` above 1, as many networks are trained, each from a seed of its own, and their probabilities and their
    values are averaged. `epochs` is what early stopping found, for each of them: a fit without
    validation trains for as long, at the same learning rates.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "learning_rate": 0.003,
        "max_epochs": 12,
        "epochs": None,
        "seeds": 1,
        "churn_weight": 1.0,
        "patience": 3,
        "weight_decay": 1.0,
        "dropout": 0.2,
        "head_units": 64,
    }
    found: ClassVar[tuple[str, ...]] = ("epochs",)
    space: ClassVar[dict[str, Range]] = {
        "learning_rate": (0.001, 0.012),
        "weight_decay": (0.01, 5.0),
        "dropout": (0.0, 0.6),
        "head_units": [32, 64, 128],
    }
    values: dict[str, ValueScale]
    networks: "list[keras.Model]"
    compiled: "Compiled"  # what they do, as functions of their weights

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """Keras's seed is set first, so that two fits on a CPU are equal bit for bit. The weights kept are those of the
        epoch with the lowest log loss on `valid`, over all horizons, levelled: see `outcomes.levelled`.
        Of several networks, which are trained side by side, `on_epoch` is told of the first; if it raises, all stop.
        """
        from models.networks import training

        labels = observed_labels(train.labels)
        self._prepare(train)
        self.values = {name: ValueScale.fit(getattr(labels, name)) for name in VALUES}
        rates = base_rates(labels.churn)
        self._build(np.log(rates / (1 - rates)).tolist())
        reader = self._reader(train, self._scaled(labels), training=True)
        churn = asked = None
        if valid is not None:
            churn, asked = held_out_labels(valid.labels).churn, self._reader(valid, None, training=False)
        planned, given_up = self._planned_epochs(validated=valid is not None), Event()

        def one(member: int) -> tuple[int, dict[str, list[float]]]:
            network, plan, valid_loss = self.networks[member], self._plan(planned[member], member), None
            if churn is not None and asked is not None:
                valid_loss = partial(_loss_of, self.compiled, asked, churn)

            def told(epoch: int, measures: dict[str, float]) -> None:
                if member == 0 and on_epoch:
                    try:
                        on_epoch(epoch, measures)
                    except BaseException:
                        given_up.set()
                        raise
                elif given_up.is_set():
                    raise CancelledError

            return training.train(network, self.compiled, plan, reader, valid_loss, told)

        # One network's small steps leave the second core idle.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            trained = list(pool.map(one, range(len(self.networks))))
        for member, (_, curves) in enumerate(trained):
            self.curves |= {f"{name}_{member + 1}" if member else name: curve for name, curve in curves.items()}
        found = [epochs for epochs, _ in trained]
        self.parameters["epochs"] = found if len(found) > 1 else found[0]
        answers = self.ask(self._reader(train, None, training=False))
        self.values = {name: self.values[name].calibrated(getattr(labels, name), answers[name]) for name in VALUES}

    def _predict(self, data: Dataset) -> Predictions:
        return self.told(self.ask(self._reader(data, None, training=False)))

    def told(self, answers: dict[str, Floats]) -> Predictions:
        """The heads' answers, as `ask` gives them, as predictions before calibration."""
        return Predictions(
            ordered_by_horizon(sigmoid(answers["churn"]), self.horizons),
            self.values["purchases"].from_scale(answers["purchases"]),
            self.values["spend"].from_scale(answers["spend"]),
        )

    def contributions(self, data: Dataset, ordinary: Dataset, horizon_index: int) -> pd.DataFrame | None:
        """Integrated gradients: see `models.explanation.integrated_gradients`."""
        from models.explanation.integrated_gradients import integrated_gradients
        from models.networks.training import weights_of

        weights = [weights_of(network) for network in self.networks]
        reader, usual = (self._reader(part, None, training=False) for part in (data, ordinary))
        return integrated_gradients(self.compiled, weights, reader, usual, self._channels(), horizon_index)

    def save(self, folder: Path) -> None:
        content = {
            **self.facts(),
            "values": {name: scale.to_json() for name, scale in self.values.items()},
            "state": self._state(),
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
        for member, network in enumerate(self.networks):
            network.save_weights(folder / _weights_file(member))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The layers are built by this code and only their weights are read, so that nothing in a file is run."""
        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls.from_facts(content)
        model.values = {name: ValueScale(**scale) for name, scale in content["values"].items()}
        model._restore(content["state"])
        model._build([0.0] * len(model.horizons))
        for member, network in enumerate(model.networks):
            network.load_weights(folder / _weights_file(member))
        return model

    @abstractmethod
    def _prepare(self, train: Dataset) -> None:
        """Fit scalers and vocabularies on `train`."""

    @abstractmethod
    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> "Reader":
        """What the network is told of `data`. `labels` are on the network's scale."""

    @abstractmethod
    def _network(self, churn_bias: list[float], seed: int) -> "keras.Model":
        """The untrained network, of the sizes that `_prepare` found."""

    @abstractmethod
    def _channels(self) -> dict[str, list[str]]:
        """For each input of the network, the names of its channels."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_prepare` fitted, as JSON values."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of `_state`."""

    def _build(self, churn_bias: list[float]) -> None:
        import keras

        from models.networks import training

        self.networks = []
        for member in range(self.parameters["seeds"]):
            keras.utils.set_random_seed(self._member_seed(member))
            self.networks.append(self._network(churn_bias, self._member_seed(member)))
        first = self.networks[0]
        built_of = {name: value for name, value in self.parameters.items() if name not in NOT_BUILT_OF}
        facts = json.dumps([type(self).__name__, self.horizons, built_of, self._state()])
        architecture = training.Architecture(tuple(type(layer) for layer in first.layers), facts, first)
        self.compiled = training.compiled_for(
            architecture, self.parameters["churn_weight"], self.parameters.get("gap_weight", 0.0)
        )

    def ask(self, reader: "Reader") -> dict[str, Floats]:
        """Each head's answers for all examples of `reader` [examples, horizons], averaged over the networks: churn is
        the logit of the mean probability, purchases and spend the logarithms of the mean expectations.
        """
        from models.networks.training import weights_of

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            weights = [weights_of(network) for network in self.networks]
            return self.averaged(list(pool.map(partial(self.compiled.ask, reader), weights)))

    @staticmethod
    def averaged(each: list[dict[str, Floats]]) -> dict[str, Floats]:
        """What several networks answered, as one answer."""
        if len(each) == 1:
            return each[0]
        answers = {head: np.logaddexp.reduce([given[head] for given in each]) - np.log(len(each)) for head in VALUES}
        answers["churn"] = logit(np.mean([sigmoid(given["churn"]) for given in each], axis=0))
        return answers

    def _member_seed(self, member: int) -> int:
        return (self.seed + 7_919 * member) % 2**32

    def _scaled(self, labels: Labels) -> Labels:
        purchases, spend = (self.values[name].to_scale(getattr(labels, name)) for name in VALUES)
        return Labels(labels.churn, purchases, spend)

    def _planned_epochs(self, validated: bool) -> list[int]:
        """For each network how long it trains at the most: with validation `max_epochs`, else as found."""
        found = self.parameters["epochs"] or self.parameters["max_epochs"]
        most = self.parameters["max_epochs"] if validated else found
        return most if isinstance(most, list) else [most] * self.parameters["seeds"]

    def _plan(self, epochs: int, member: int) -> Any:
        from models.networks.training import Plan

        chosen = self.parameters
        return Plan(
            optimizer=chosen["optimizer"],
            learning_rate=chosen["learning_rate"],
            weight_decay=chosen["weight_decay"],
            planned_epochs=chosen["max_epochs"],
            epochs=epochs,
            patience=chosen["patience"],
            batch_size=chosen["batch_size"],
            max_cells=chosen["batch_size"] * chosen.get("max_steps", 1),
            seed=self._member_seed(member),
        )


def _loss_of(compiled: "Compiled", reader: "Reader", churn: Floats, weights: "Weights") -> float:
    return levelled_loss(churn, compiled.ask(reader, weights)["churn"])


def _weights_file(member: int) -> str:
    return f"network_{member}.weights.h5" if member else "network.weights.h5"
