"""The hybrid: a GRU's state beside the aggregates, in one network: each tells the heads what the other cannot."""

from typing import Any, ClassVar

from models.contract import Family, Range, View
from models.recurrent.sequence_model import SequenceModel


class HybridGRU(SequenceModel):
    """Without the state (`with_state` false) the same heads are left on the same aggregates: the difference between the
    two is the state's credit.
    """

    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")
    cell: ClassVar[str] = "gru"
    # The aggregates repeat one another and customers are few: a small state, and weights held back hard.
    defaults: ClassVar[dict[str, Any]] = {
        **SequenceModel.defaults,
        "learning_rate": 0.003,
        "weight_decay": 2.0,
        "dropout": 0.3,
        "units": 24,
        "chrono": None,
        "with_state": True,
    }
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256]}
