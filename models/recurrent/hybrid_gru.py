"""The hybrid: a logistic regression on the aggregates and a GRU that reads the history, their churn logits averaged.

The two err apart: the regression knows a customer's year in a few numbers that little can overfit, the network the
order and the rhythm of all that was done. The mean of logits is the logarithmic opinion pool with equal weights (Genest
and Zidek, 1986).
"""

from typing import Any, ClassVar

from features.dataset import Dataset
from models.contract import Family, OnEpoch, View
from models.conventional.logistic_regression import LogisticRegression
from models.recurrent.survival_gru import SurvivalGRU


class HybridGRU(SurvivalGRU):
    """A survival GRU beside the regression. Heads of purchases and spend read the state and the aggregates together.
    Without the state (`with_state` false) churn is the regression's alone: the difference is the state's credit.
    """

    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")
    defaults: ClassVar[dict[str, Any]] = {
        **SurvivalGRU.defaults,
        "strength": LogisticRegression.defaults["strength"],
        "with_state": True,
    }
    found: ClassVar[tuple[str, ...]] = (*SurvivalGRU.found, "strength")

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """The regression first, which the network then stands beside: early stopping judges the two together."""
        self.regression = LogisticRegression(self.horizons, self.seed, strength=self.parameters["strength"])
        self.regression.fit(train, valid)
        self.parameters["strength"] = self.regression.parameters["strength"]
        super().fit(train, valid, on_epoch)
