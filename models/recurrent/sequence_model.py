"""What every recurrent model does: read each history once and be asked at every cutoff on the way."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.dataset import Dataset, Labels
from features.encoding import Encoder
from models.contract import Family, View
from models.network_model import NetworkModel
from models.preparation import Preparation
from models.recurrent.batches import HistoryReader, cut_chunks

if TYPE_CHECKING:
    import keras


class SequenceModel(NetworkModel):
    """A recurrent layer over the history; its state at the last step before the cutoff goes to the heads, with what is
    known at the cutoff itself (the silence since that step above all), and in a hybrid with the aggregates.

    `max_steps` cuts the histories that training reads into overlapping chunks; scoring reads every history whole.
    `batch_size` counts histories, each with all its examples.
    """

    family: ClassVar[Family] = "recurrent"
    views: ClassVar[tuple[View, ...]] = ("sequences",)
    cell: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {
        **NetworkModel.defaults,
        "learning_rate": 0.006,
        "weight_decay": 0.2,
        "units": 32,
        "batch_size": 32,
        "max_steps": 256,
    }
    preparation: Preparation | None = None

    def _prepare(self, train: Dataset) -> None:
        self.encoder = Encoder.fit(train)
        if "aggregates" in self.views:
            self.preparation = Preparation.fit(train.aggregates)

    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> HistoryReader:
        context = self.encoder.at_cutoff(data)
        if self.preparation is not None:
            context = np.hstack([context, self.preparation.transform(data.aggregates)])
        max_steps = self.parameters["max_steps"] if training else None
        return HistoryReader(
            chunks=cut_chunks(data.sequences, max_steps),
            steps=self.encoder.encode(data.sequences),
            context=context,
            labels=labels,
        )

    def _network(self, churn_bias: list[float]) -> "keras.Model":
        from models.recurrent.network import Widths, build_network

        widths = Widths(
            numeric=len(self.encoder.steps),
            vocabularies=tuple(len(known) for known in self.encoder.vocabularies.values()),
            context=len(self.encoder.cutoffs) + (len(self.preparation.names) if self.preparation else 0),
            horizons=len(self.horizons),
        )
        chosen = self.parameters
        return build_network(widths, self.cell, chosen["units"], chosen["head_units"], chosen["dropout"], churn_bias)

    def _state(self) -> dict[str, Any]:
        prepared = self.preparation.to_json() if self.preparation else None
        return {"encoder": self.encoder.to_json(), "preparation": prepared}

    def _restore(self, state: dict[str, Any]) -> None:
        self.encoder = Encoder.from_json(state["encoder"])
        self.preparation = Preparation.from_json(state["preparation"]) if state["preparation"] else None
