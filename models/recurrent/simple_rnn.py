"""Elman's network (1990): the state is a tanh of the step and of the state before."""

from typing import Any, ClassVar

from models.recurrent.sequence_model import SequenceModel


class SimpleRNN(SequenceModel):
    cell: ClassVar[str] = "simple_rnn"
    # Without gates, steps as long as a gated cell's throw it off its path.
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "learning_rate": 0.003}
