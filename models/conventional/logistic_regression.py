"""Logistic regression on the aggregates, with the bends that a straight line cannot follow."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dataset import Dataset, Floats
from models.contract import Family, Model, OnEpoch, Predictions, Range, View
from models.outcomes import VALUES, held_out_labels, log_loss, observed_labels, ordered_by_horizon, sigmoid
from models.preparation import Preparation

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
        "knots": [0.25, 0.5, 0.75],
        "products": True,
        "bent": ["days_since_last_event", "days_since_first_event", "events_91", "overdue", "gap_mean"],
    }
    found: ClassVar[tuple[str, ...]] = ("strength",)
    space: ClassVar[dict[str, Range]] = {"products": [True, False]}
    seeded: ClassVar[bool] = False

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels = observed_labels(train.labels)
        self.preparation = Preparation.fit(train.aggregates)
        self.bent = [
            self.preparation.columns.index(name) for name in self.parameters["bent"] if name in self.preparation.columns
        ]
        self.knots = [
            np.unique(
                np.quantile(self.preparation.transform(train.aggregates)[:, column], self.parameters["knots"])
            ).tolist()
            for column in self.bent
        ]
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
        for column, knots in zip(self.bent, self.knots, strict=True):
            hinges = np.maximum(rows[:, [column]] - knots, 0) - np.maximum(usual[column] - knots, 0)
            found[:, column] += hinges @ weights[used : used + len(knots)]
            used += len(knots)
        for place, one in enumerate(self.bent):
            for other in self.bent[:place]:
                for own, its in ((one, other), (other, one)):
                    gain = (rows[:, own] - usual[own]) * (rows[:, its] + usual[its])
                    found[:, own] += weights[used] * gain / 2
                used += 1
        return pd.DataFrame(found, columns=self.preparation.names)

    def columns(self, prepared: Any, numbers: Any = np) -> Any:
        """[..., columns], what is weighed, from the prepared aggregates [..., names]; `numbers` is the module whose
        arrays they are: NumPy, or `keras.ops` in a network.
        """
        bent = [prepared[..., column : column + 1] for column in self.bent]
        hinges = [numbers.maximum(one - np.array(knots), 0) for one, knots in zip(bent, self.knots, strict=True)]
        pairs = [(i, j) for i in range(len(bent)) for j in range(i)] if self.parameters["products"] else []
        return numbers.concatenate([prepared, *hinges, *(bent[i] * bent[j] for i, j in pairs)], axis=-1)

    def _rows(self, data: Dataset) -> NDArray[np.float64]:
        return np.asarray(self.columns(self.preparation.transform(data.aggregates).astype(np.float64)))

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
        (folder / "model.json").write_text(json.dumps(self.to_json()), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls.from_json(json.loads((folder / "model.json").read_text("utf-8")))

    def to_json(self) -> dict[str, Any]:
        return {
            **self.facts(),
            "preparation": self.preparation.to_json(),
            "bent": self.bent,
            "knots": self.knots,
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        model = cls.from_facts(content)
        model.preparation = Preparation.from_json(content["preparation"])
        model.bent, model.knots = content["bent"], content["knots"]
        model.weights = content["weights"]
        return model
