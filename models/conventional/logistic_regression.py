"""Logistic regression on the aggregates, with the bends that a straight line cannot follow."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dataset import Dataset, Floats
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.networks.hinge_basis import BENT, KNOTS, Bends
from models.networks.preparation import Preparation
from models.numerics import VALUES, held_out_labels, log_loss, observed_labels, ordered_by_horizon, sigmoid

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # scikit-learn's C: the larger, the less the weights are held back


class LogisticRegression(Model):
    """One regression a horizon: on the prepared aggregates, on hinges of the columns named in `bent`, and on the
    products of those columns with one another; a column bends at the quantiles `knots` of the training examples.
    `strength` is chosen on validation, and kept. Purchases and spend come
    from Poisson regressions on the same columns: their mean is right whatever the distribution, as long as its
    logarithm is linear in them.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "strength": 0.03,
        "knots": list(KNOTS),
        "products": True,
        "bent": list(BENT),
    }
    found: ClassVar[tuple[str, ...]] = ("strength",)
    space: ClassVar[dict[str, Range]] = {"products": [True, False]}
    seeded: ClassVar[bool] = False

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels = observed_labels(train.labels)
        self.preparation = Preparation.fit(train.aggregates)
        prepared, chosen = self.preparation.transform(train.aggregates), self.parameters
        self.bends = Bends.fit(prepared, self.preparation.names, chosen["bent"], chosen["knots"], chosen["products"])
        rows = self._rows(train)
        if valid is not None:
            known = held_out_labels(valid.labels).churn
            trials = {}
            for strength in STRENGTHS:
                self.weights = {"churn": self._churn_weights(rows, labels.churn, strength)}
                trials[strength] = log_loss(known, sigmoid(self._linear("churn", self._rows(valid))))
            self.parameters["strength"] = min(trials, key=trials.__getitem__)
            self.curves = {"valid_log_loss_by_strength": list(trials.values())}
        self.weights = {"churn": self._churn_weights(rows, labels.churn, self.parameters["strength"])}
        for name in VALUES:
            self.weights[name] = self._value_weights(rows, getattr(labels, name))

    def _predict(self, data: Dataset) -> Predictions:
        rows = self._rows(data)
        purchases, spend = (np.exp(np.clip(self._linear(name, rows), -30, 30)) for name in VALUES)
        return Predictions(ordered_by_horizon(sigmoid(self._linear("churn", rows)), self.horizons), purchases, spend)

    def contributions(self, data: Dataset, ordinary: Dataset, horizon_index: int) -> pd.DataFrame:
        """Weights times the distance from the median of `ordinary`: the Shapley values of this regression, where a
        product `xy` beside `mn` gives each of the two half of what it gains, `(x - m)(y + n) / 2`.
        """
        weights = np.array(self.weights["churn"][horizon_index][1:])
        rows = self.preparation.transform(data.aggregates).astype(np.float64)
        usual = np.median(self.preparation.transform(ordinary.aggregates), axis=0).astype(np.float64)
        found, used = (rows - usual) * weights[: rows.shape[1]], rows.shape[1]
        for column, knots in zip(self.bends.columns, self.bends.knots, strict=True):
            hinges = np.maximum(rows[:, [column]] - knots, 0) - np.maximum(usual[column] - knots, 0)
            found[:, column] += hinges @ weights[used : used + len(knots)]
            used += len(knots)
        for place, one in enumerate(self.bends.columns):
            for other in self.bends.columns[:place]:
                for own, its in ((one, other), (other, one)):
                    gain = (rows[:, own] - usual[own]) * (rows[:, its] + usual[its])
                    found[:, own] += weights[used] * gain / 2
                used += 1
        return pd.DataFrame(found, columns=self.preparation.names)

    def _rows(self, data: Dataset) -> NDArray[np.float64]:
        return np.asarray(self.bends.widened(self.preparation.transform(data.aggregates).astype(np.float64)))

    def _linear(self, name: str, rows: NDArray[np.float64]) -> Floats:
        weights = np.array(self.weights[name])
        return np.asarray(rows @ weights[:, 1:].T + weights[:, 0])

    def _churn_weights(self, rows: Floats, churn: Floats, strength: float) -> list[list[float]]:
        """[horizons, 1 + columns], the intercept first."""
        from sklearn.linear_model import LogisticRegression as Regression

        weights = []
        for column in range(len(self.horizons)):
            known = np.isfinite(churn[:, column])
            label = churn[known, column]
            if label.min() == label.max():
                # One outcome only: nothing to regress on; a constant with half a case of the other added.
                rate = (label.sum() + 0.5) / (len(label) + 1)
                weights.append([float(np.log(rate / (1 - rate))), *[0.0] * rows.shape[1]])
                continue
            fitted = Regression(C=strength, solver="newton-cholesky", max_iter=50).fit(rows[known], label)
            weights.append([float(fitted.intercept_[0]), *fitted.coef_[0].tolist()])
        return weights

    def _value_weights(self, rows: Floats, values: Floats) -> list[list[float]]:
        from sklearn.linear_model import PoissonRegressor

        weights = []
        for column in range(len(self.horizons)):
            known = np.isfinite(values[:, column])
            value = np.maximum(values[known, column], 0)
            if not value.any():
                weights.append([-30.0, *[0.0] * rows.shape[1]])
                continue
            unit = value.mean()  # so that the penalty weighs the same for counts as for money
            fitted = PoissonRegressor(alpha=0.01, solver="newton-cholesky", max_iter=50).fit(rows[known], value / unit)
            weights.append([float(fitted.intercept_ + np.log(unit)), *fitted.coef_.tolist()])
        return weights

    def save(self, folder: Path) -> None:
        content = {
            **self.facts(),
            "preparation": self.preparation.to_json(),
            "bends": asdict(self.bends),
            "weights": self.weights,
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls.from_facts(content)
        model.preparation = Preparation.from_json(content["preparation"])
        model.bends, model.weights = Bends(**content["bends"]), content["weights"]
        return model
