"""What every network does around its own layers: train, predict, save and load, with the same heads and loop."""

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from features.dataset import Dataset, Labels
from models.contract import Model, OnEpoch, Predictions
from models.outcomes import VALUES, ValueScale, base_rates, log_loss, observed_labels, ordered_by_horizon, sigmoid

if TYPE_CHECKING:
    import keras

    from models.training import Reader


class NetworkModel(Model):
    """A network with three heads a horizon: churn, purchases, spend. A model of this kind says what it reads
    (`_prepare`, `_reader`, its state as JSON) and how it is built (`_network`).

    `epochs` is what early stopping found: a fit without validation trains for as long, at the same learning rates.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adam",
        "learning_rate": 0.003,
        "max_epochs": 12,
        "epochs": None,
        "patience": 3,
        "weight_decay": 1.0,
        "dropout": 0.2,
        "head_units": 64,
    }
    values: dict[str, ValueScale]

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """Keras's seed is set first, so that two fits on a CPU are equal bit for bit. The weights kept are those of the
        epoch with the lowest log loss on `valid`, over all horizons.
        """
        from models import training

        labels = observed_labels(train.labels)
        self._prepare(train)
        self.values = {name: ValueScale.fit(getattr(labels, name)) for name in VALUES}
        rates = base_rates(labels.churn)
        self._build(np.log(rates / (1 - rates)).tolist())
        reader = self._reader(train, self._scaled(labels), training=True)
        valid_loss = None
        if valid is not None:
            churn, asked = observed_labels(valid.labels).churn, self._reader(valid, None, training=False)

            def valid_loss() -> float:
                return log_loss(churn, sigmoid(self.ask(asked)["churn"]))

        plan = self._plan(validated=valid is not None)
        self.parameters["epochs"], self.curves = training.train(self.network, plan, reader, valid_loss, on_epoch)
        answers = self.ask(self._reader(train, None, training=False))
        self.values = {name: self.values[name].calibrated(getattr(labels, name), answers[name]) for name in VALUES}

    def predict(self, data: Dataset) -> Predictions:
        answers = self.ask(self._reader(data, None, training=False))
        return Predictions(
            ordered_by_horizon(sigmoid(answers["churn"]), self.horizons),
            self.values["purchases"].from_scale(answers["purchases"]),
            self.values["spend"].from_scale(answers["spend"]),
        )

    def save(self, folder: Path) -> None:
        content = {
            "horizons": self.horizons,
            "seed": self.seed,
            "parameters": self.parameters,
            "curves": self.curves,
            "values": {name: scale.to_json() for name, scale in self.values.items()},
            "state": self._state(),
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
        self.network.save_weights(folder / "network.weights.h5")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The layers are built by this code and only their weights are read, so that nothing in a file is run."""
        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls(tuple(content["horizons"]), content["seed"], **content["parameters"])
        model.curves = content["curves"]
        model.values = {name: ValueScale(**scale) for name, scale in content["values"].items()}
        model._restore(content["state"])
        model._build([0.0] * len(model.horizons))
        model.network.load_weights(folder / "network.weights.h5")
        return model

    @abstractmethod
    def _prepare(self, train: Dataset) -> None:
        """Fit scalers and vocabularies on `train`."""

    @abstractmethod
    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> "Reader":
        """What the network is told of `data`. `labels` are on the network's scale."""

    @abstractmethod
    def _network(self, churn_bias: list[float]) -> "keras.Model":
        """The untrained network, of the sizes that `_prepare` found."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_prepare` fitted, as JSON values."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of `_state`."""

    def _build(self, churn_bias: list[float]) -> None:
        import keras

        from models import training

        keras.utils.set_random_seed(self.seed % 2**32)
        self.network = self._network(churn_bias)
        self.ask = training.ask(self.network)

    def _scaled(self, labels: Labels) -> Labels:
        return Labels(labels.churn, *(self.values[name].to_scale(getattr(labels, name)) for name in VALUES))

    def _plan(self, validated: bool) -> Any:
        from models.training import Plan

        chosen = self.parameters
        return Plan(
            optimizer=chosen["optimizer"],
            learning_rate=chosen["learning_rate"],
            weight_decay=chosen["weight_decay"],
            planned_epochs=chosen["max_epochs"],
            epochs=chosen["max_epochs"] if validated or not chosen["epochs"] else chosen["epochs"],
            patience=chosen["patience"],
            batch_size=chosen["batch_size"],
            max_cells=chosen["batch_size"] * chosen.get("max_steps", 1),
            seed=self.seed,
        )
