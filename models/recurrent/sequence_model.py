"""What every recurrent model does: read each history once and be asked at every cutoff on the way."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dataset import Dataset, Labels, Sequences
from features.sequences.encoding import Encoder, Standing
from features.sequences.gaps import Gaps
from models.base import Family, Needs, Predictions, Range, Stepper, View
from models.networks.hinge_basis import Bends
from models.networks.network_model import NetworkModel
from models.networks.preparation import Preparation
from models.recurrent.batches import HistoryReader, cut_chunks

if TYPE_CHECKING:
    import keras


class SequenceModel(NetworkModel):
    """A recurrent layer over the history; its state at the last step before the cutoff goes to the heads, with what is
    known at the cutoff itself (the silence since that step above all), and in a hybrid with the aggregates.

    `max_steps` cuts the histories that training reads into overlapping chunks; scoring reads every history whole.
    `batch_size` counts histories, each with all its examples. With a `gap_weight` a survival head learns the time from
    every event to the next beside the other heads; `chrono` is the longest memory, in steps, that gates start with.
    With `truncate`, backpropagation through time reaches back over stretches of as many steps and not further.
    """

    family: ClassVar[Family] = "recurrent"
    views: ClassVar[tuple[View, ...]] = ("sequences",)
    cell: ClassVar[str]
    survives: ClassVar[bool] = False  # whether churn is read from the survival head
    defaults: ClassVar[dict[str, Any]] = {
        **NetworkModel.defaults,
        "learning_rate": 0.006,
        "weight_decay": 0.2,
        "units": 32,
        "batch_size": 32,
        "max_steps": 256,
        "gap_weight": 0.0,
        "truncate": None,
    }
    space: ClassVar[dict[str, Range]] = {**NetworkModel.space, "units": (12, 64)}
    preparation: Preparation | None = None
    bends: Bends | None = None
    begins: list[float] | None = None  # of the survival head's stretches, in days
    log_rate: list[float] | None = None

    def _prepare(self, train: Dataset) -> None:
        self.encoder = Encoder.fit(train)
        if self.has_state and (self.survives or self.parameters["gap_weight"]):
            from models.recurrent.hazard import stretches

            self.begins, self.log_rate = stretches(Gaps.of(train))
        if "aggregates" in self.views:
            self.preparation = Preparation.fit(train.aggregates)
            prepared = self.preparation.transform(train.aggregates)
            self.bends = Bends.fit(prepared, self.preparation.names)

    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> HistoryReader:
        standing = Standing.of(data)
        max_steps = self.parameters["max_steps"] if training else None
        gaps = Gaps.of(data) if training and self.begins else None
        return HistoryReader(
            chunks=cut_chunks(data.sequences, max_steps, gaps.readable if gaps else None),
            steps=self.encoder.encode(data.sequences),
            context=self.context(standing, data.aggregates),
            labels=labels,
            silence=standing.silence_days,
            gaps=gaps,
        )

    @property
    def needs(self) -> Needs:
        # Without the state the heads still read the first event and the number of events from the history.
        return "state" if self.has_state else "history"

    def stepper(self) -> Stepper | None:
        if not self.has_state:
            return None
        from models.recurrent.stepping import NetworkStepper

        return NetworkStepper(self)

    def predict_reading(self, data: Dataset, sequences: Sequences) -> Predictions:
        standing = Standing.of(data)
        reader = replace(
            self._reader(replace(data, sequences=sequences), None, training=False),
            context=self.context(standing, data.aggregates),
            silence=standing.silence_days,
        )
        return self.calibrated(self.told(self.ask(reader)))

    def context(self, standing: Standing, aggregates: pd.DataFrame | None) -> NDArray[np.float32]:
        """[examples, channels]: what the heads are told beside the state; `aggregates` where the model reads them."""
        known = self.encoder.at_cutoff(standing)
        if self.preparation is None:
            return known
        assert aggregates is not None
        return np.hstack([known, self.preparation.transform(aggregates)])

    @property
    def has_state(self) -> bool:
        """Whether the heads read the recurrent state."""
        return bool(self.parameters.get("with_state", True))

    def _network(self, churn_bias: list[float], seed: int) -> "keras.Model":
        from models.recurrent.network import Survival, Widths, build_network
        from models.recurrent.wide_head import Direct

        widths = Widths(
            numeric=len(self.encoder.steps),
            vocabularies=tuple(len(known) for known in self.encoder.vocabularies.values()),
            context=len(self.encoder.cutoffs) + (len(self.preparation.names) if self.preparation else 0),
            horizons=len(self.horizons),
        )
        chosen = self.parameters
        survival = chrono = direct = None
        if self.begins and self.log_rate:
            adjusted = self.survives and bool(chosen["churn_weight"])
            survival = Survival(self.begins, self.log_rate, self.horizons, self.survives, adjusted)
        if chosen.get("chrono"):
            from models.recurrent.chrono import Chrono

            chrono = Chrono(chosen["chrono"], seed)
        if self.bends:
            direct = Direct(self.bends, len(self.encoder.cutoffs), churn_bias, name="direct")
        return build_network(
            widths,
            self.cell,
            chosen["units"],
            chosen["head_units"],
            chosen["dropout"],
            churn_bias,
            survival,
            chrono,
            chosen["truncate"],
            self.has_state,
            direct,
        )

    def _channels(self) -> dict[str, list[str]]:
        known = [channel.name for channel in self.encoder.cutoffs]
        return {
            "numeric": self.encoder.numeric_channels,
            "categorical": list(self.encoder.vocabularies),
            "context": known + (self.preparation.names if self.preparation else []),
            "silence": ["days_since_last_event"],
        }

    def _state(self) -> dict[str, Any]:
        prepared = self.preparation.to_json() if self.preparation else None
        return {
            "encoder": self.encoder.to_json(),
            "preparation": prepared,
            "bends": asdict(self.bends) if self.bends else None,
            "begins": self.begins,
            "log_rate": self.log_rate,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.encoder = Encoder.from_json(state["encoder"])
        self.begins, self.log_rate = state["begins"], state["log_rate"]
        self.preparation = Preparation.from_json(state["preparation"]) if state["preparation"] else None
        self.bends = Bends(**state["bends"]) if state["bends"] else None
