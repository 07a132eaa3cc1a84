"""Elman's network (1990): the state is a tanh of the step and of the state before."""

from typing import ClassVar

from models.recurrent.sequence_model import SequenceModel


class SimpleRNN(SequenceModel):
    cell: ClassVar[str] = "simple_rnn"
