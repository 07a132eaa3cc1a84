"""The hybrid: a logistic regression on the aggregates, and a share of what a GRU that reads the history says beside it.

    churn logit = line + share * (state - line)

The line is fitted first, as the convex problem that it is and as `logistic_regression` fits it; then the state is
taught by a loss of its own, inter-event times by default, so that neither corrects the other on the training examples.
Half and half, in which training is watched, is the logarithmic opinion pool with equal weights (Genest and Zidek,
1986). The share is then fitted on validation and shrunk towards the line by its own uncertainty (Breiman's nonnegative
garrote, 1995): where the state tells nothing that can be told from noise, the hybrid is the line.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Family, View
from models.labels import held_out_labels, observed_labels
from models.line import fit_line, linear, shrunken_share, strongest_line
from models.recurrent.survival_gru import SurvivalGRU

if TYPE_CHECKING:
    from models.line import Weights


class HybridGRU(SurvivalGRU):
    """Heads of purchases and spend read the state and the aggregates together. Without the state (`with_state` false)
    churn is the line alone: the difference is the state's contribution. `strength` of the line and `state_share` are
    found on validation; a fit without it takes them over. A share that was never found is a half.
    """

    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")
    defaults: ClassVar[dict[str, Any]] = {
        **SurvivalGRU.defaults,
        "with_state": True,
        "strength": 0.03,
        "state_share": None,
    }
    found_by_fit: ClassVar[tuple[str, ...]] = (*SurvivalGRU.found_by_fit, "strength", "state_share")

    def without_state(self) -> Self | None:
        """One network, however many the model averages, and one epoch: what is left of churn is a straight line, the
        same for all, and no epoch moves it.
        """
        if not self.has_state or not self.has_memory:
            return None
        parameters = self.recipe_of(self.parameters) | {"with_state": False, "seeds": 1, "max_epochs": 1}
        return type(self)(self.horizons, self.random_state, **parameters)

    def set_share(self, share: float) -> None:
        """Give the state this share of the churn logit, in [0, 1]; 0 leaves the line."""
        for network in self.networks:
            network.get_layer("pooled").set_weights([np.array([share])])

    def _fit_line(self, train: Dataset, valid: Dataset | None) -> None:
        rows, churn = self._rows(train), observed_labels(train.labels).churn
        if valid is None:
            self.line: Weights = fit_line(rows, churn, self.parameters["strength"])
        else:
            held_out = self._rows(valid), held_out_labels(valid.labels).churn
            self.line, self.parameters["strength"], _ = strongest_line((rows, churn), held_out)
        weights = np.array(self.line)
        for network in self.networks:
            network.get_layer("wide").line.set_weights([weights[:, 1:].T, weights[:, 0]])

    def _find_share(self, valid: Dataset | None) -> None:
        if not self.has_state:
            return
        if valid is not None:
            self.set_share(1.0)
            of_state = self.forward(self._reader(valid, None, training=False))["churn"]
            churn = held_out_labels(valid.labels).churn
            line = linear(self.line, self._rows(valid))
            self.parameters["state_share"] = shrunken_share(churn, line, of_state, valid.customer_id)
        if self.parameters["state_share"] is not None:
            self.set_share(self.parameters["state_share"])

    def _rows(self, data: Dataset) -> Floats:
        assert self.preparation is not None
        assert self.basis is not None
        return np.asarray(self.basis.expand(self.preparation.transform(data.aggregates).astype(np.float64)))
