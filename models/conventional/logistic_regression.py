"""Logistic regression on the aggregates, with the curves that a straight line cannot follow."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.information import columns_read
from models.labels import VALUES, held_out_labels, observed_labels, observed_values
from models.line import by_horizon, fit_line, linear, side_by_side, strongest_line
from models.networks.hinge_basis import BENT, KNOTS, HingeBasis
from models.networks.preparation import Preparation
from models.numerics import ordered_by_horizon, sigmoid

MORE_BENT = ("events_28", "events_total", "amount_91", "amount_mean", "gap_variation", "overdue_longest")


class LogisticRegression(Model):
    """One regression a horizon: on the prepared aggregates, on hinges of the columns named in `bent` (and, with
    `more_bent`, of six others), and on the products of those columns with one another. Hinges are at `knots` evenly
    spaced quantiles of the training examples, or at those quantiles that it lists. `strength` is found on validation,
    anywhere in a continuous range, and kept, so that whatever else is tried is tried at its best strength. Purchases
    and spend come from Poisson regressions on the same columns: their mean is right whatever the distribution, as long
    as its logarithm is linear in them.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "strength": 0.03,
        "knots": len(KNOTS),
        "products": True,
        "bent": list(BENT),
        "more_bent": False,
        "calendar": True,
        "categories": True,
    }
    found_by_fit: ClassVar[tuple[str, ...]] = ("strength",)
    space: ClassVar[dict[str, Range]] = {"knots": (0, 7), "products": [True, False], "more_bent": [False, True]}
    seeded: ClassVar[bool] = False

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels = observed_labels(train.labels)
        self.preparation = Preparation.fit(train.aggregates[columns_read(train, self.parameters)])
        prepared = self.preparation.transform(train.aggregates)
        self.basis = HingeBasis.fit(prepared, self.preparation.names, *self._curves_asked_for())
        rows = self._rows(train)

        if valid is None:
            line = fit_line(rows, labels.churn, self.parameters["strength"])
        else:
            held_out = self._rows(valid), held_out_labels(valid.labels).churn
            line, self.parameters["strength"], losses = strongest_line((rows, labels.churn), held_out)
            self.curves = {"valid_log_loss_by_strength": losses}
        self.weights = {"churn": line}
        values = observed_values(labels)
        with side_by_side() as each:
            weights = each(lambda name: by_horizon(_value_weights, rows, getattr(labels, name)), values)
            self.weights |= zip(values, weights, strict=True)

    def _curves_asked_for(self) -> tuple[list[str], list[float], bool]:
        """The columns with hinges, the quantiles at which these are, and whether there are products."""
        parameters = self.parameters
        bent = dict.fromkeys([*parameters["bent"], *(MORE_BENT if parameters["more_bent"] else ())])
        knots = parameters["knots"]
        quantiles = knots if isinstance(knots, list) else [(k + 1) / (knots + 1) for k in range(knots)]
        return list(bent), quantiles, parameters["products"]

    def _predict(self, data: Dataset) -> Predictions:
        rows = self._rows(data)
        values = {
            f"expected_{name}": np.exp(np.clip(self._linear(name, rows), -30, 30))
            for name in VALUES
            if name in self.weights
        }
        return Predictions(ordered_by_horizon(sigmoid(self._linear("churn", rows)), self.horizons), **values)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """Weights times the distance from the median of `baseline`: the Shapley values of this regression, where a
        product `xy` beside `mn` gives each of the two half of what it gains, `(x - m)(y + n) / 2`.
        """
        weights = np.array(self.weights["churn"][horizon_index][1:])
        rows = self.preparation.transform(data.aggregates).astype(np.float64)
        typical = np.median(self.preparation.transform(baseline.aggregates), axis=0).astype(np.float64)
        values, used = (rows - typical) * weights[: rows.shape[1]], rows.shape[1]
        for column, knots in zip(self.basis.columns, self.basis.knots, strict=True):
            hinges = np.maximum(rows[:, [column]] - knots, 0) - np.maximum(typical[column] - knots, 0)
            values[:, column] += hinges @ weights[used : used + len(knots)]
            used += len(knots)
        for number, left in enumerate(self.basis.columns):
            for right in self.basis.columns[:number]:
                for x, y in ((left, right), (right, left)):
                    gain = (rows[:, x] - typical[x]) * (rows[:, y] + typical[y])
                    values[:, x] += weights[used] * gain / 2
                used += 1
        return pd.DataFrame(values, columns=self.preparation.names)

    def _rows(self, data: Dataset) -> NDArray[np.float64]:
        return np.asarray(self.basis.expand(self.preparation.transform(data.aggregates).astype(np.float64)))

    def _linear(self, name: str, rows: NDArray[np.float64]) -> Floats:
        return linear(self.weights[name], rows)

    def _save(self, folder: Path) -> dict[str, Any]:
        return {"preparation": self.preparation.to_json(), "bends": asdict(self.basis), "weights": self.weights}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self.preparation = Preparation.from_json(content["preparation"])
        self.basis, self.weights = HingeBasis(**content["bends"]), content["weights"]


def _value_weights(rows: Floats, value: Floats) -> list[float]:
    from sklearn.linear_model import PoissonRegressor

    value = np.maximum(value, 0)
    if not value.any():
        return [-30.0, *[0.0] * rows.shape[1]]
    unit = value.mean()  # so that the penalty weighs the same for counts as for money
    fitted = PoissonRegressor(alpha=0.01, solver="newton-cholesky", max_iter=50).fit(rows, value / unit)
    return [float(fitted.intercept_ + np.log(unit)), *fitted.coef_.tolist()]
