"""The gated recurrent unit (Cho et al., 2014): two gates decide what of the state is kept and what is renewed."""

from typing import Any, ClassVar

from models.base import Range
from models.recurrent.sequence_model import SequenceModel


class GRU(SequenceModel):
    cell: ClassVar[str] = "gru"
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "chrono": None}
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256]}
