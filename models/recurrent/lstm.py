"""Long short-term memory (Hochreiter and Schmidhuber, 1997): gates around a cell that can keep its content."""

from typing import Any, ClassVar

from models.base import Range
from models.recurrent.sequence_model import SequenceModel


class LSTM(SequenceModel):
    cell: ClassVar[str] = "lstm"
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "chrono": None}
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256]}
