"""The hybrid: a GRU's state beside the aggregates, in one network, so that each tells the heads what the other cannot."""

from typing import Any, ClassVar

from models.contract import Family, View
from models.recurrent.sequence_model import SequenceModel


class HybridGRU(SequenceModel):
    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")
    cell: ClassVar[str] = "gru"
    defaults: ClassVar[dict[str, Any]] = {**SequenceModel.defaults, "dropout": 0.3}
