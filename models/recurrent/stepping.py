"""A trained sequence model, one step after another: from the state after the last event read to the state after the
next ones, and from the state to predictions.

It says what `predict` says of whole histories, to the last digits of single precision. Keras is imported at the top, so
this module is imported only where a network is built.
"""

from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from features.dataset import Floats, Integers, Sequences
from features.encoding import EncodedSteps, Standing
from models.contract import Predictions
from models.recurrent.batches import Floats32, cut_batches, cut_chunks
from models.recurrent.sequence_model import SequenceModel
from models.training import HEADS

CUSTOMERS_AT_ONCE = 2048  # that step together
CELLS_AT_ONCE = 65_536  # padded steps in one batch at the most
ASKED_AT_ONCE = 8_192


class Stepper:
    """The hidden states of many customers are one array, `[customers, width]`, single precision: a row holds what each
    of the model's networks remembers, one network after the other.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._members = [_Member(network, model.cell) for network in model.networks]
        self.width = sum(member.width for member in self._members)

    def start(self, customers: int) -> Floats32:
        """The states of customers of whom nothing was read."""
        return np.tile(np.concatenate([member.first for member in self._members]), (customers, 1))

    def advance(self, states: Floats32, sequences: Sequences, previous: Integers) -> Floats32:
        """The states after the events of `sequences`, whose history `i` is what customer `i` did since `states`; it may
        hold none. `previous` [customers] is the time of the last event read before, NEVER where there is none.
        """
        steps = self._model.encoder.encode(sequences, previous)
        lengths = np.diff(sequences.offsets)
        after = states.copy()
        some = np.flatnonzero(lengths)
        begin = 0
        for member in self._members:
            own = slice(begin, begin + member.width)
            begin = own.stop
            for batch in _batches(lengths[some]):
                rows = some[batch]
                after[rows, own] = member.advance(states[rows, own], steps, sequences.offsets[rows], lengths[rows])
        return after

    def ask(self, states: Floats32, standing: Standing, aggregates: pd.DataFrame | None) -> Predictions:
        """Predictions for the customers of `states`, each where it stands at its cutoff; `aggregates` where the model
        reads them. All have at least one event.
        """
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
        reading = {name: network.input[name] for name in ("numeric", "categorical")}
        self._read = keras.Model(reading, _reads(layer))
        self._told = [name for name in network.input if name not in reading]
        told = [layer.output, *(network.input[name] for name in self._told)]
        self._asked = keras.Model(told, {head: network.output[head] for head in HEADS})
        self._cell = layer.cell
        signature = {name: tf.TensorSpec(each.shape, each.dtype) for name, each in reading.items()}
        self._advance = tf.function(
            self._stepped,
            input_signature=[
                signature,
                tf.TensorSpec((None,), tf.int32),
                [tf.TensorSpec((None, self.units), tf.float32) for _ in parts],
            ],
        )
        asked = [tf.TensorSpec(each.shape, each.dtype) for each in told]
        self._ask = tf.function(lambda arrays: self._asked(arrays, training=False), input_signature=[asked])

    def advance(self, states: Floats32, steps: EncodedSteps, start: Integers, length: Integers) -> Floats32:
        """The states after the steps `start[i]:start[i] + length[i]`."""
        step = np.arange(length.max())
        flat = np.where(step < length[:, None], start[:, None] + step, 0)
        arrays = {"numeric": steps.numeric[flat], "categorical": steps.categorical[flat]}
        before = np.split(states, states.shape[1] // self.units, axis=1)
        after = self._advance(arrays, length.astype(np.int32), before)
        return np.concatenate([part.numpy() for part in after], axis=1)

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

    def _stepped(self, arrays: dict[str, tf.Tensor], length: tf.Tensor, states: list[tf.Tensor]) -> list[tf.Tensor]:
        """Where a customer has no more steps than `length`, its state stays."""
        steps = tf.transpose(self._read(arrays, training=False), [1, 0, 2])

        def one(at: tf.Tensor, now: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            _, after = self._cell(steps[at], now, training=False)
            going = (at < length)[:, None]
            return at + 1, [tf.where(going, new, old) for new, old in zip(tf.nest.flatten(after), now, strict=True)]

        return list(tf.while_loop(lambda at, _: at < tf.reduce_max(length), one, [tf.constant(0), states])[1])


def _reads(layer: keras.Layer) -> Any:
    """The steps that a recurrent layer reads, as the network's graph names them."""
    given = layer.input
    return given[0] if isinstance(given, list) else given


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
    return cut_batches(cut_chunks(sequences), CUSTOMERS_AT_ONCE, CELLS_AT_ONCE)
