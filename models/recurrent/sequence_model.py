"""What every recurrent model does: read each history once and predict at every cutoff on the way."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from features.dataset import Dataset, Labels, Sequences
from features.sequences.encoding import Encoder, StateAtCutoff
from features.sequences.gaps import Gaps, NextEvent
from features.sequences.visits import STEPS, Counted, Step, fitting_step, values_to_count, visits
from models.base import Alteration, Family, Needs, Predictions, Range, Stepper, View
from models.information import columns_read, reads_calendar, sequences_read
from models.networks.hinge_basis import HingeBasis
from models.networks.network_model import NetworkModel
from models.networks.preparation import Preparation
from models.recurrent.batches import HistoryReader, cut_chunks
from models.recurrent.cells.cell import Cell, Floats32
from models.recurrent.cutoff_reader import CutoffReader
from models.recurrent.intervals import Intervals

if TYPE_CHECKING:
    import keras

LONG_HISTORY = 0.9  # the share of training examples that see no more than `chrono` "history" says


class SequenceModel(NetworkModel):
    """A recurrent layer over the history; its state at the last step before the cutoff goes to the heads, with what is
    known at the cutoff itself (the recency above all), and in a hybrid with the aggregates.

    `max_steps` cuts the histories that training reads into overlapping chunks; scoring reads every history whole.
    `batch_size` counts histories, each with all its examples. With a `gap_weight` a survival head learns the time from
    every event to the next beside the other heads; `chrono` is the longest memory, in steps, that gates start with, or
    "history": as long as nine of ten training examples can see.
    With `truncate`, backpropagation through time reaches back over so many steps and no further.
    A `step` is an event, or a visit: a `session` or a `day` (`features.sequences.visits`). By default it is what the
    training histories ask for (`fitting_step`).

    Without `memory` it is the twin: a feed-forward layer on the aggregates, and on what is known at the cutoff, stands
    in the place of the recurrent layer, and a survival head learns the time from every cutoff to the next event, given
    the silence so far. No step is read; training goes through the same batches of examples.
    """

    family: ClassVar[Family] = "recurrent"
    views: ClassVar[tuple[View, ...]] = ("sequences",)
    cell: ClassVar[Cell]
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
        "step": None,
        "memory": True,
    }
    space: ClassVar[dict[str, Range]] = {**NetworkModel.space, "units": (12, 64), "step": [None, *STEPS]}
    preparation: Preparation | None = None  # of the aggregates, where the model reads them
    basis: HingeBasis | None = None
    intervals: Intervals | None = None  # of the survival head
    step: Step = "event"
    counted: Counted  # in every visit
    alter: Alteration | None = None  # what is read in place of histories, in an ablation
    examples_a_history: float = 1.0  # where each example is altered apart: then a batch holds as many examples
    longest: int | None = None  # steps that training examples see; None where no gates are to start from them

    def __init__(self, horizons: tuple[int, ...], random_state: int, **parameters: Any) -> None:
        super().__init__(horizons, random_state, **parameters)
        self.counted = {}
        if not self.has_memory:
            self.family, self.views = "neural", ("aggregates",)  # type: ignore[misc]

    @property
    def _batch_size(self) -> int:
        return round(super()._batch_size * self.examples_a_history)

    @property
    def has_memory(self) -> bool:
        return bool(self.parameters["memory"])

    @property
    def has_state(self) -> bool:
        """Whether the heads read the recurrent state, or what stands in its place."""
        return bool(self.parameters.get("with_state", True))

    @property
    def needs(self) -> Needs:
        if not self.has_memory:
            return "aggregates"
        # Without the state the heads still read the first event and the number of events from the history.
        return "state" if self.has_state else "history"

    def stepper(self) -> Stepper | None:
        if not self.has_state or not self.has_memory:
            return None
        from models.recurrent.stepping import NetworkStepper

        return NetworkStepper(self)

    def twin(self) -> Self | None:
        if not self.has_memory:
            return None
        return type(self)(self.horizons, self.random_state, **self.recipe_of(self.parameters) | {"memory": False})

    def predict_reading(self, data: Dataset, sequences: Sequences) -> Predictions | None:
        if not self.has_memory:
            return None
        at_cutoff = StateAtCutoff.of(data)
        reader = replace(
            self._reader(replace(data, sequences=sequences), None, training=False),
            context=self.context(at_cutoff, data.aggregates),
            recency=at_cutoff.silence_days,
        )
        return self.calibrated(self.predictions(self.forward(reader)))

    def altered(self, alter: Alteration) -> Self | None:
        if not self.has_memory:
            return None
        model = type(self)(self.horizons, self.random_state, **self.recipe_of(self.parameters))
        model.alter = alter
        return model

    def context(self, at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None) -> Floats32:
        """[examples, channels]: what the heads read beside the state; `aggregates` where the model reads them."""
        channels = self.encoder.at_cutoff(at_cutoff)
        if self.preparation is None:
            return channels
        assert aggregates is not None
        return np.hstack([channels, self.preparation.transform(aggregates)])

    def in_steps(self, sequences: Sequences) -> Sequences:
        """Histories in the steps that the model reads."""
        return visits(sequences, self.step, self.counted)

    def _prepare(self, train: Dataset) -> None:
        sequences = sequences_read(train, self.parameters)
        self.step = self.parameters["step"] or fitting_step(sequences)
        self.counted = {} if self.step == "event" else values_to_count(sequences)
        calendar, steps = reads_calendar(train, self.parameters), self.in_steps(sequences)
        if self.has_memory:
            self.encoder = Encoder.fit(train, calendar, steps)
        else:
            self.encoder = Encoder.of_cutoffs(train, calendar)
        if self.alter:
            self.examples_a_history = len(train) / len(np.unique(train.sequences.history))
        if self.parameters.get("chrono") == "history":
            seen = int(np.quantile(steps.length, LONG_HISTORY))
            self.longest = min(seen, self.parameters["max_steps"] or seen)
        if self.has_state and (self.survives or self.parameters["gap_weight"]):
            self.intervals = Intervals.fit(Gaps.of(replace(train, sequences=steps)))
        if "aggregates" in self.views:
            self.preparation = Preparation.fit(train.aggregates[columns_read(train, self.parameters)])
        if self.preparation and "aggregates" in type(self).views:
            prepared = self.preparation.transform(train.aggregates)
            self.basis = HingeBasis.fit(prepared, self.preparation.names)

    def _reader(self, data: Dataset, labels: Labels | None, training: bool) -> HistoryReader | CutoffReader:
        read = replace(data, sequences=self.in_steps(data.sequences))
        gaps = Gaps.of(read) if training and self.intervals else None
        sequences = read.sequences
        if self.alter:
            sequences = self.alter(read)
            gaps = gaps and gaps.of_altered(read.sequences, sequences)
        max_steps = self.parameters["max_steps"] if training else None
        chunks = cut_chunks(sequences, max_steps, gaps.readable if gaps else None)
        at_cutoff = StateAtCutoff.of(data) if self.has_memory else StateAtCutoff.of_aggregates(data)
        context, recency = self.context(at_cutoff, data.aggregates), at_cutoff.silence_days
        if not self.has_memory:
            following = NextEvent.of(data) if gaps else None
            return CutoffReader(context, labels, recency, chunks if training else None, following)
        return HistoryReader(chunks, self.encoder.encode(sequences), context, labels, recency, gaps)

    def _network(self, churn_bias: list[float], random_state: int) -> "keras.Model":
        from models.networks.heads import HeadConfig
        from models.recurrent.network import InputConfig, NetworkConfig, SurvivalConfig, build_network

        parameters = self.parameters
        survival = None
        if self.intervals:
            adjusted = self.survives and bool(parameters["churn_weight"])
            survival = SurvivalConfig(self.intervals, self.horizons, self.survives, adjusted)
        config = NetworkConfig(
            cell=self.cell,
            units=parameters["units"],
            inputs=InputConfig(
                numeric=len(self.encoder.steps),
                vocabularies=tuple(len(values) for values in self.encoder.vocabularies.values()),
                at_cutoff=len(self.encoder.cutoffs),
                aggregates=len(self.preparation.names) if self.preparation else 0,
            ),
            heads=HeadConfig(parameters["head_units"], parameters["dropout"], churn_bias),
            survival=survival,
            wide=self.basis,
            # What was loaded has its weights: how they began is of no account.
            chrono=self.longest if parameters.get("chrono") == "history" else parameters.get("chrono"),
            truncate=parameters["truncate"],
            with_state=self.has_state,
            memory=self.has_memory,
            random_state=random_state,
        )
        return build_network(config)

    def _channels(self) -> dict[str, list[str]]:
        at_cutoff = [channel.name for channel in self.encoder.cutoffs]
        return {
            "numeric": self.encoder.numeric_channels,
            "categorical": list(self.encoder.vocabularies),
            "context": at_cutoff + (self.preparation.names if self.preparation else []),
            "recency": ["days_since_last_event"],
        }

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "counted": self.counted,
            "encoder": self.encoder.to_json(),
            "preparation": self.preparation.to_json() if self.preparation else None,
            "bends": asdict(self.basis) if self.basis else None,
            "begins": self.intervals.begins if self.intervals else None,
            "log_rate": self.intervals.log_rate if self.intervals else None,
        }

    def _constants(self) -> dict[str, Any]:
        return {
            "at_cutoff": len(self.encoder.cutoffs),
            "bends": asdict(self.basis) if self.basis else None,
            "begins": self.intervals.begins if self.intervals else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        # An earlier recur knew no step but the event, or counted no values.
        self.step, self.counted = state.get("step", "event"), state.get("counted", {})
        self.encoder = Encoder.from_json(state["encoder"])
        self.preparation = Preparation.from_json(state["preparation"]) if state["preparation"] else None
        self.basis = HingeBasis(**state["bends"]) if state["bends"] else None
        self.intervals = Intervals(state["begins"], state["log_rate"]) if state["begins"] else None
