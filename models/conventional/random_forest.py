"""A random forest on the aggregates, grown by scikit-learn and kept as plain arrays."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.information import columns_read
from models.labels import VALUES, observed_labels, observed_values
from models.networks.preparation import Preparation
from models.numerics import logit, ordered_by_horizon

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class Forest:
    """Trees as arrays over [trees, nodes], padded with unused nodes. A row goes left where `row[column] <= threshold`;
    in a leaf, `column` is -1. `means` [trees, nodes, outcomes] are the mean churn, and purchases and spend where they
    were observed, of the examples there.
    """

    column: NDArray[np.int32]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    means: Floats

    @classmethod
    def of(cls, forest: "RandomForestClassifier", rows: NDArray[np.float32], values: Floats) -> Self:
        """From a fitted forest. Leaves get the means of `values` [examples, kinds] over the `rows` that fall there."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        nodes = max(tree.node_count for tree in trees)
        column = np.full((len(trees), nodes), -1, np.int32)
        left, right = np.zeros_like(column), np.zeros_like(column)
        threshold, means = np.zeros((len(trees), nodes)), np.zeros((len(trees), nodes, 1 + values.shape[1]))
        leaves = forest.apply(rows)
        for number, tree in enumerate(trees):
            used = slice(tree.node_count)
            column[number, used] = np.where(tree.children_left < 0, -1, tree.feature)
            threshold[number, used] = tree.threshold
            left[number, used], right[number, used] = tree.children_left, tree.children_right
            if 1.0 in forest.classes_:
                means[number, used, 0] = tree.value[:, 0, list(forest.classes_).index(1.0)]
            count = np.maximum(np.bincount(leaves[:, number], minlength=nodes), 1)
            for kind, value in enumerate(values.T, start=1):
                means[number, :, kind] = np.bincount(leaves[:, number], value, minlength=nodes) / count
        return cls(column, threshold, left, right, means)

    def read(self, rows: NDArray[np.float32]) -> Floats:
        """[rows, outcomes]: the mean over the trees of the leaf that each row ends in."""
        total = np.zeros((len(rows), self.means.shape[-1]))
        for tree in range(len(self.column)):
            column, threshold = self.column[tree], self.threshold[tree]
            node = np.zeros(len(rows), np.int32)
            walking = np.flatnonzero(column[node] >= 0)
            while walking.size:
                at = node[walking]
                goes_left = rows[walking, column[at]] <= threshold[at]
                node[walking] = np.where(goes_left, self.left[tree, at], self.right[tree, at])
                walking = walking[column[node[walking]] >= 0]
            total += self.means[tree, node]
        return total / len(self.column)

    def contributions(self, rows: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """[rows, columns]: what each column adds to the share that churns on the way from the root to the leaf (each
        step's change goes to the column that splits there; Saabas 2014), averaged over the trees; and [rows]: the share
        at the roots. Their sum is what `read` gives.
        """
        steps, begin, every = np.zeros(rows.shape), np.zeros(len(rows)), np.arange(len(rows))
        for tree in range(len(self.column)):
            column, churn = self.column[tree], self.means[tree, :, 0]
            node = np.zeros(len(rows), np.int32)
            begin += churn[0]
            walking = every[column[node] >= 0]
            while walking.size:
                at = node[walking]
                goes_left = rows[walking, column[at]] <= self.threshold[tree][at]
                node[walking] = np.where(goes_left, self.left[tree, at], self.right[tree, at])
                steps[walking, column[at]] += churn[node[walking]] - churn[at]
                walking = walking[column[node[walking]] >= 0]
        return steps / len(self.column), begin / len(self.column)


class RandomForest(Model):
    """One forest a horizon, grown for churn. Leaves also hold mean purchases and spend of training examples."""

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 120,
        "min_examples_a_leaf": 30,
        "share_of_columns": 0.1,
        "share_of_rows": 0.5,
        "calendar": True,
        "categories": True,
    }
    space: ClassVar[dict[str, Range]] = {
        "min_examples_a_leaf": (5, 200),
        "share_of_columns": (0.05, 0.6),
        "share_of_rows": (0.2, 0.9),
    }

    @property
    def spent(self) -> dict[str, int]:
        return {"trees": sum(len(forest.column) for forest in self.forests)}

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        from sklearn.ensemble import RandomForestClassifier

        labels = observed_labels(train.labels)
        self.preparation = Preparation.fit(train.aggregates[columns_read(train, self.parameters)])
        rows = self.preparation.transform(train.aggregates)
        self.values = observed_values(labels)
        self.forests = []
        for column in range(len(self.horizons)):
            observed = np.isfinite(labels.churn[:, column])
            grown = RandomForestClassifier(
                n_estimators=self.parameters["trees"],
                min_samples_leaf=self.parameters["min_examples_a_leaf"],
                max_features=self.parameters["share_of_columns"],
                max_samples=self.parameters["share_of_rows"],
                random_state=self.random_state % 2**32,
                n_jobs=-1,
            ).fit(rows[observed], labels.churn[observed, column])
            outcomes = [np.maximum(getattr(labels, name)[observed, column], 0) for name in self.values]
            values = np.array(outcomes).reshape(-1, int(observed.sum())).T
            self.forests.append(Forest.of(grown, rows[observed], values))

    def _predict(self, data: Dataset) -> Predictions:
        rows = self.preparation.transform(data.aggregates)
        means = np.stack([forest.read(rows) for forest in self.forests], axis=1)
        expected = {f"expected_{name}": means[..., place] for place, name in enumerate(self.values, start=1)}
        return Predictions(ordered_by_horizon(means[..., 0], self.horizons), **expected)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """The steps of each path through the trees, from the share that churned in training (`Forest.contributions`),
        put on the scale of logits as a whole; `baseline` is not used.
        """
        steps, begin = self.forests[horizon_index].contributions(self.preparation.transform(data.aggregates))
        moved = steps.sum(axis=1)
        begin = np.clip(begin, 1e-7, 1 - 1e-7)
        change = logit(np.clip(begin + moved, 1e-7, 1 - 1e-7)) - logit(begin)
        # Where ups and downs cancel out, the slope of the logit stands for the ratio.
        slope = np.where(np.abs(moved) > 1e-6, change / np.where(moved == 0, 1, moved), 1 / (begin * (1 - begin)))
        return pd.DataFrame(steps * slope[:, None], columns=self.preparation.names)

    def _save(self, folder: Path) -> dict[str, Any]:
        for column, forest in enumerate(self.forests):
            np.savez_compressed(folder / f"forest-{column}.npz", **asdict(forest))
        return {"preparation": self.preparation.to_json(), "values": self.values}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self.preparation = Preparation.from_json(content["preparation"])
        self.values = content.get("values", list(VALUES))
        self.forests = []
        for column in range(len(self.horizons)):
            with np.load(folder / f"forest-{column}.npz", allow_pickle=False) as arrays:
                self.forests.append(Forest(**arrays))
