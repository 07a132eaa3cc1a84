"""A GRU that predicts when the next event comes: churn, at every horizon, is the silence lasting as long."""

from typing import Any, ClassVar

from models.base import Range
from models.recurrent.sequence_model import SequenceModel


class SurvivalGRU(SequenceModel):
    """At every event the network gives a hazard over the time to the next (`hazard.Hazard`). Every gap is a label, the
    last one censored where knowledge ends, so that it learns from events up to that end, where churn labels stop a
    horizon before. The probability of churn is the survival over the horizon given the silence so far.
    """

    cell: ClassVar[str] = "gru"
    survives: ClassVar[bool] = True
    # Churn labels teach the season that they were taken in; gaps alone did better on later cutoffs of two real sets.
    # One network's loss differs from the next seed's by more than most models do: three are averaged.
    defaults: ClassVar[dict[str, Any]] = {
        **SequenceModel.defaults,
        "chrono": None,
        "churn_weight": 0.0,
        "gap_weight": 1.0,
        "seeds": 3,
    }
    space: ClassVar[dict[str, Range]] = {**SequenceModel.space, "chrono": [None, 64, 256]}
