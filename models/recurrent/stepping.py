"""A trained sequence model, one step after another: from the state after the last event read to the state after the
next ones, and from the state to predictions.

It says what `predict` says of whole histories, to the last digits of single precision. Keras is imported at the top, so
this module is imported only where a network is built.
"""

from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from features.dataset import Floats, Integers, Sequences
from features.sequences.encoding import EncodedSteps, Standing
from models.base import Predictions
from models.networks.training import HEADS
from models.recurrent.batches import Floats32, cut_batches, cut_chunks
from models.recurrent.cells import CELLS, ShareOfInput
from models.recurrent.sequence_model import SequenceModel

CUSTOMERS_AT_ONCE = 4_096  # that step together
STEPS_AT_ONCE = 65_536  # of theirs, about
STEPS_IN_A_PIECE = 250_000  # that are encoded together, about
ASKED_AT_ONCE = 32_768


class NetworkStepper:
    """The hidden states of many customers are one array, `[customers, width]`, single precision: a row holds what each
    of the model's networks remembers, one network after the other.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._members = [_Member(network, model.cell) for network in model.networks]
        self.width = sum(member.width for member in self._members)

    def trace(self) -> None:
        for member in self._members:
            member.trace()

    def start(self, customers: int) -> Floats32:
        return np.tile(np.concatenate([member.first for member in self._members]), (customers, 1))

    def advance(self, states: Floats32, sequences: Sequences, previous: Integers) -> Floats32:
        """The caller keeps BLAS to one thread: splitting such small products among cores costs more than it gains."""
        after = states.copy()
        ends = np.searchsorted(sequences.offsets, np.arange(STEPS_IN_A_PIECE, sequences.offsets[-1], STEPS_IN_A_PIECE))
        bounds = np.unique([0, *ends, len(states)]).tolist()
        for begin, end in pairwise(bounds):
            after[begin:end] = self._stepped(states[begin:end], _of(sequences, begin, end), previous[begin:end])
        return after

    def _stepped(self, states: Floats32, sequences: Sequences, previous: Integers) -> Floats32:
        steps, lengths = self._model.encoder.encode(sequences, previous), np.diff(sequences.offsets)
        after, some, begin = states.copy(), np.flatnonzero(lengths), 0
        for member in self._members:
            own = slice(begin, begin + member.width)
            begin = own.stop
            for batch in _batches(lengths[some]):
                rows = some[batch]
                after[rows, own] = member.advance(states[rows, own], steps, sequences.offsets[rows], lengths[rows])
        return after

    def predict(self, states: Floats32, standing: Standing, aggregates: pd.DataFrame | None) -> Predictions:
        context = self._model.context(standing, aggregates)
        begin, answers = 0, []
        for member in self._members:
            answers.append(member.ask(states[:, begin : begin + member.width], context, standing.silence_days))
            begin += member.width
        return self._model.calibrated(self._model.told(self._model.averaged(answers)))


class _Member:
    """One network, taken apart at its recurrent layer: what reads a step, the cell, and what is asked of a state."""

    def __init__(self, network: keras.Model, cell: str) -> None:
        layer = network.get_layer(cell)
        parts = ("h", "c") if cell == "lstm" else ("h",)
        self.units = layer.units
        self.first = np.concatenate([network.get_layer(f"initial_{part}").state.numpy()[0] for part in parts])
        self.width = len(self.first)
        kernel, self._u, self._b = (weight.numpy() for weight in layer.cell.weights)
        columns = range(network.input["categorical"].shape[-1])
        tables = [network.get_layer(f"embedding_{column}").embeddings.numpy() for column in columns]
        self._run, self._share_of_input = CELLS[cell], ShareOfInput(kernel, self._b, tables)
        self._told = [name for name in network.input if name not in ("numeric", "categorical", "length")]
        told = [layer.output, *(network.input[name] for name in self._told)]
        self._asked = keras.Model(told, {head: network.output[head] for head in HEADS})
        asked = [tf.TensorSpec(each.shape, each.dtype) for each in told]
        # Autograph would rewrite every layer's source, which costs more than a night's small steps.
        self._ask = tf.function(
            lambda arrays: self._asked(arrays, training=False), input_signature=[asked], autograph=False
        )

    def trace(self) -> None:
        self._ask.get_concrete_function()

    def advance(self, states: Floats32, steps: EncodedSteps, start: Integers, length: Integers) -> Floats32:
        """The states after the steps `start[i]:start[i] + length[i]`."""
        order = np.argsort(-length, kind="stable")
        counts = len(length) - np.searchsorted(length[order][::-1], np.arange(length.max()), side="right")
        at = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        flat = start[order][row] + at
        given = self._share_of_input(steps.numeric[flat], steps.categorical[flat])
        parts = [np.ascontiguousarray(part) for part in np.split(states[order], states.shape[1] // self.units, axis=1)]
        self._run(parts, given, counts, self._u, self._b)
        after = np.empty_like(states)
        after[order] = np.concatenate(parts, axis=1)
        return after

    def ask(self, states: Floats32, context: Floats32, silence: Floats32) -> dict[str, Floats]:
        rows = len(states)
        answers = {head: np.zeros((rows, self._asked.output[head].shape[-1])) for head in HEADS}
        for begin in range(0, rows, ASKED_AT_ONCE):
            own = slice(begin, begin + ASKED_AT_ONCE)
            told = {
                "position": np.zeros((len(silence[own]), 1), np.int32),
                "context": context[own, None],
                "silence": silence[own, None],
            }
            given = [states[own, None, : self.units], *(told[name] for name in self._told)]
            for head, values in self._ask(given).items():
                answers[head][own] = values.numpy()[:, 0]
        return answers


def _of(sequences: Sequences, begin: int, end: int) -> Sequences:
    """The histories `begin:end`, not copied."""
    steps = slice(sequences.offsets[begin], sequences.offsets[end])
    return replace(
        sequences,
        offsets=sequences.offsets[begin : end + 1] - sequences.offsets[begin],
        event_time=sequences.event_time[steps],
        numeric={name: values[steps] for name, values in sequences.numeric.items()},
        categorical={name: (codes[steps], values) for name, (codes, values) in sequences.categorical.items()},
        history=np.arange(end - begin),
        length=np.diff(sequences.offsets[begin : end + 1]),
    )


def _batches(lengths: Integers) -> list[Integers]:
    """Customers that step together: of like length."""
    sequences = Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        event_time=np.zeros(0, np.int64),
        numeric={},
        categorical={},
        history=np.arange(len(lengths)),
        length=lengths,
    )
    return cut_batches(cut_chunks(sequences), CUSTOMERS_AT_ONCE, STEPS_AT_ONCE)
