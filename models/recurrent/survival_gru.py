"""A GRU that predicts when the next event comes: churn, at every horizon, is no event coming within it."""

from typing import Any, ClassVar

from models.base import Range
from models.recurrent.cells.gru import GRU


class SurvivalGRU(GRU):
    """At every event the network gives a hazard over the time to the next (`hazard.Hazard`). Every inter-event time is
    a label, the last one censored where knowledge ends, so that it learns from events up to that end, where churn
    labels stop a horizon before. The probability of churn is the survival over the horizon given the recency.
    """

    survives: ClassVar[bool] = True
    # Churn labels teach the season that they were taken in; inter-event times alone did better on later cutoffs of two
    # real sets. One network's loss differs from the next one's by more than most models do: three are averaged.
    defaults: ClassVar[dict[str, Any]] = {**GRU.defaults, "churn_weight": 0.0, "gap_weight": 1.0, "seeds": 3}
    # Where histories are short, few gaps teach less than the labels do.
    space: ClassVar[dict[str, Range]] = {**GRU.space, "churn_weight": [0.0, 0.3, 1.0]}
