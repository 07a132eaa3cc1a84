"""The hybrid: a GRU that reads the history beside a head that reads the aggregates, their churn logits averaged.

Their errors differ: aggregates summarise a customer's year in a few numbers that hardly overfit, the state holds the
order and the rhythm of all events. So each is taught by its own loss, the state by inter-event times and the wide head
by churn labels, and neither corrects the other on the training examples. The mean of logits is the logarithmic opinion
pool with equal weights (Genest and Zidek, 1986).
"""

from typing import Any, ClassVar, Self

from models.base import Family, View
from models.recurrent.survival_gru import SurvivalGRU


class HybridGRU(SurvivalGRU):
    """Heads of purchases and spend read the state and the aggregates together. Without the state (`with_state` false)
    churn comes from the aggregates' head alone: the difference is the state's contribution.
    """

    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")
    defaults: ClassVar[dict[str, Any]] = {**SurvivalGRU.defaults, "with_state": True}

    def without_state(self) -> Self | None:
        """One network, however many the model averages: what is left is nearly a straight line, and networks agree."""
        if not self.has_state or not self.has_memory:
            return None
        parameters = self.recipe_of(self.parameters) | {"with_state": False, "seeds": 1}
        return type(self)(self.horizons, self.random_state, **parameters)
