"""A feed-forward network on the aggregates, with the heads and the training of the recurrent ones: what a network gains
without reading any history.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.arrays import Integers
from features.dataset import Dataset, Labels
from models.base import Family, View
from models.information import columns_read
from models.labels import HEADS
from models.networks.network_model import NetworkModel
from models.networks.preparation import Preparation

if TYPE_CHECKING:
    import keras

FORWARD_BATCH = 8_192


@dataclass(frozen=True)
class RowReader:
    """The `compiled.Reader` of aggregates: one row an example."""

    rows: NDArray[np.float32]  # [examples, columns]
    labels: Labels | None

    @property
    def examples(self) -> int:
        return len(self.rows)

    def cut(self, batch_size: int, max_padded: int, random: np.random.Generator | None = None) -> list[Integers]:
        if random is None:
            batch_size, order = FORWARD_BATCH, np.arange(self.examples)
        else:
            order = random.permutation(self.examples)
        return [order[begin : begin + batch_size] for begin in range(0, self.examples, batch_size)]

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        arrays: dict[str, NDArray[Any]] = {"aggregates": self.rows[batch]}
        if self.labels is not None:
            for name in HEADS:
                arrays[name] = getattr(self.labels, name)[batch].astype(np.float32)
        return arrays, batch


class FeedForward(NetworkModel):
    """Two hidden layers. `batch_size` counts examples."""

    family: ClassVar[Family] = "neural"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {**NetworkModel.defaults, "dropout": 0.5, "batch_size": 512}

    def _prepare(self, train: Dataset) -> None:
        self.preparation = Preparation.fit(train.aggregates[columns_read(train, self.parameters)])

    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> RowReader:
        return RowReader(self.preparation.transform(data.aggregates), labels)

    def _network(self, churn_bias: list[float], random_state: int) -> "keras.Model":
        import keras
        from keras import layers

        from models.networks.heads import HeadConfig, heads

        rows = keras.Input((len(self.preparation.names),), name="aggregates")
        config = HeadConfig(self.parameters["head_units"], self.parameters["dropout"], churn_bias)
        hidden = layers.Dropout(config.dropout)(layers.Dense(config.units, activation="relu")(rows))
        return keras.Model({"aggregates": rows}, heads(hidden, config))

    def _channels(self) -> dict[str, list[str]]:
        return {"aggregates": self.preparation.names}

    def _state(self) -> dict[str, Any]:
        return {"preparation": self.preparation.to_json()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.preparation = Preparation.from_json(state["preparation"])
