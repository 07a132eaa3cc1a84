"""A trained sequence model, one step after another: from the state after the last event read to the state after the
next ones, and from the state to predictions.

Its predictions are those of `predict` on whole histories, to the last digits of single precision.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from features.dataset import Sequences
from features.sequences.encoding import EncodedSteps, StateAtCutoff
from models.base import Predictions
from models.labels import HEADS
from models.recurrent.batches import cut_batches
from models.recurrent.cells.cell import Cell, Floats32
from models.survival import piecewise_survival

RATES = "rates"
CUSTOMERS_AT_ONCE = 4_096  # that step together
STEPS_AT_ONCE = 65_536  # of theirs, about
STEPS_A_CHUNK = 250_000  # that are encoded together, about
PREDICTIONS_AT_ONCE = 32_768


class NetworkStepper:
    """A row of states holds what each of the model's networks remembers, one network after the other. `model` is a
    `SequenceModel`, whose file imports this one.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._networks = [_Network(network, model.cell) for network in model.networks]
        ends = np.cumsum([network.width for network in self._networks]).tolist()
        self._columns = [slice(begin, end) for begin, end in pairwise([0, *ends])]  # of each network
        self.width = ends[-1]

    def trace(self) -> None:
        for network in self._networks:
            network.trace()

    def start(self, customers: int) -> Floats32:
        return np.tile(np.concatenate([network.first for network in self._networks]), (customers, 1))

    def advance(self, states: Floats32, sequences: Sequences, previous: Integers) -> Floats32:
        """The caller keeps BLAS to one thread: splitting such small products among cores costs more than it gains."""
        after = states.copy()
        ends = np.searchsorted(sequences.offsets, np.arange(STEPS_A_CHUNK, sequences.offsets[-1], STEPS_A_CHUNK))
        bounds = np.unique([0, *ends, len(states)]).tolist()
        for begin, end in pairwise(bounds):
            rows = slice(begin, end)
            after[rows] = self._advance(states[rows], sequences.slice(begin, end).whole(), previous[rows])
        return after

    def _advance(self, states: Floats32, sequences: Sequences, previous: Integers) -> Floats32:
        sequences = self._model.in_steps(sequences)
        steps, lengths = self._model.encoder.encode(sequences, previous), sequences.lengths
        after, active = states.copy(), np.flatnonzero(lengths)
        for network, columns in zip(self._networks, self._columns, strict=True):
            for batch in cut_batches(lengths[active], CUSTOMERS_AT_ONCE, STEPS_AT_ONCE):
                rows = active[batch]
                begin, length = sequences.offsets[rows], lengths[rows]
                after[rows, columns] = network.advance(states[rows, columns], steps, begin, length)
        return after

    def predict(self, states: Floats32, at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None) -> Predictions:
        outputs = self._forward(states, at_cutoff, aggregates)
        predictions: Predictions = self._model.calibrated(self._model.predictions(self._model.average(outputs)))
        return predictions

    def survival(
        self, states: Floats32, at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None, days: Integers
    ) -> Floats | None:
        """The mean of the networks' curves, by the survival head; None without one that gives churn."""
        model = self._model
        if not (model.survives and model.intervals):
            return None
        begins, silence = model.intervals.begins, at_cutoff.silence_days
        curves = [
            piecewise_survival(np.exp(outputs[RATES]), begins, silence.astype(np.float64), days)
            for outputs in self._forward(states, at_cutoff, aggregates)
        ]
        return np.asarray(np.mean(curves, axis=0))

    def _forward(
        self, states: Floats32, at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None
    ) -> list[dict[str, Floats]]:
        """What each network gives."""
        context = self._model.context(at_cutoff, aggregates)
        return [
            network.forward(states[:, columns], context, at_cutoff.silence_days)
            for network, columns in zip(self._networks, self._columns, strict=True)
        ]


class _Network:
    """One network, cut at its recurrent layer: the inputs' part of the gates, the cell, and the heads."""

    def __init__(self, network: keras.Model, cell: Cell) -> None:
        layer = network.get_layer(cell.name)
        self.units = layer.units
        self.first = np.concatenate([network.get_layer(f"initial_{part}").state.numpy()[0] for part in cell.states])
        self.width = len(self.first)
        kernel, self._u, self._b = (weight.numpy() for weight in layer.cell.weights)
        columns = range(network.input["categorical"].shape[-1])
        tables = [network.get_layer(f"embedding_{column}").embeddings.numpy() for column in columns]
        self._cell, self._inputs = cell, _InputGates(kernel, self._b, tables)
        self._at_cutoff = [name for name in network.input if name not in ("numeric", "categorical", "length")]
        inputs = [layer.output, *(network.input[name] for name in self._at_cutoff)]
        outputs = {head: network.output[head] for head in HEADS}
        if "survival" in network.output:
            outputs[RATES] = network.get_layer("hazard").input[0]
        self._heads = keras.Model(inputs, outputs)
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]
        # Autograph would rewrite every layer's source, which costs more than a night's small steps.
        self._forward = tf.function(
            lambda arrays: self._heads(arrays, training=False), input_signature=[signature], autograph=False
        )

    def trace(self) -> None:
        self._forward.get_concrete_function()

    def advance(self, states: Floats32, steps: EncodedSteps, start: Integers, length: Integers) -> Floats32:
        """The states after the steps `start[i]:start[i] + length[i]`. Customers are put in descending order of their
        steps, so that those who still have one are the first rows: none is padded.
        """
        order = np.argsort(-length, kind="stable")
        counts = len(length) - np.searchsorted(length[order][::-1], np.arange(length.max()), side="right")
        step = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
        flat = start[order][row] + step
        gates = self._inputs(steps.numeric[flat], steps.categorical[flat])
        parts = [np.ascontiguousarray(part) for part in np.split(states[order], states.shape[1] // self.units, axis=1)]
        begin = 0
        for count in counts.tolist():
            self._cell.step([part[:count] for part in parts], gates[begin : begin + count], self._u, self._b)
            begin += count
        after = np.empty_like(states)
        after[order] = np.concatenate(parts, axis=1)
        return after

    def forward(self, states: Floats32, context: Floats32, recency: Floats32) -> dict[str, Floats]:
        """Each head's output, and where there is a survival head the RATES as the hazard reads them, logarithms."""
        outputs = {name: np.zeros((len(states), tensor.shape[-1])) for name, tensor in self._heads.output.items()}
        for begin in range(0, len(states), PREDICTIONS_AT_ONCE):
            some = slice(begin, begin + PREDICTIONS_AT_ONCE)
            at_cutoff = {
                "position": np.zeros((len(recency[some]), 1), np.int32),
                "context": context[some, None],
                "recency": recency[some, None],
            }
            inputs = [states[some, None, : self.units], *(at_cutoff[name] for name in self._at_cutoff)]
            for name, values in self._forward(inputs).items():
                outputs[name][some] = values.numpy()[:, 0]
        return outputs


class _InputGates:
    """`x w + b`, from a cell's `kernel` and `bias` and the tables of embedded categories [codes, numbers], in the order
    in which a step's numeric channels and they are joined. What each code adds is worked out once.
    """

    def __init__(self, kernel: Floats32, bias: Floats32, tables: Sequence[Floats32]) -> None:
        sizes = [table.shape[1] for table in tables]
        self._numeric, *parts = np.split(kernel, np.cumsum([len(kernel) - sum(sizes), *sizes])[:-1])
        self._codes = [table @ part for table, part in zip(tables, parts, strict=True)]
        self._bias = bias[0] if bias.ndim == 2 else bias

    def __call__(self, numeric: Floats32, categorical: NDArray[np.int32]) -> Floats32:
        """From steps [steps, channels] to [steps, gates]."""
        gates = numeric @ self._numeric
        gates += self._bias
        for column, added in enumerate(self._codes):
            gates += added[categorical[:, column]]
        return gates
