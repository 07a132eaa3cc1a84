"""A random forest on the aggregates, grown by scikit-learn and kept as plain arrays."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dataset import Dataset, Floats
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.networks.preparation import Preparation
from models.numerics import VALUES, logit, observed_labels, ordered_by_horizon

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class Forest:
    """Trees as arrays over [trees, nodes], padded with unused nodes. A row goes left where `row[column] <= threshold`;
    in a leaf, `column` is -1. `means` [trees, nodes, 3] are the churn, purchases and spend of the examples there.
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
        for place, tree in enumerate(trees):
            used = slice(tree.node_count)
            column[place, used] = np.where(tree.children_left < 0, -1, tree.feature)
            threshold[place, used] = tree.threshold
            left[place, used], right[place, used] = tree.children_left, tree.children_right
            if 1.0 in forest.classes_:
                means[place, used, 0] = tree.value[:, 0, list(forest.classes_).index(1.0)]
            count = np.maximum(np.bincount(leaves[:, place], minlength=nodes), 1)
            for kind, value in enumerate(values.T, start=1):
                means[place, :, kind] = np.bincount(leaves[:, place], value, minlength=nodes) / count
        return cls(column, threshold, left, right, means)

    def read(self, rows: NDArray[np.float32]) -> Floats:
        """[rows, 3]: the mean over the trees of the leaf that each row ends in."""
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
        step's change goes to the column that is asked there; Saabas 2014), meaned over the trees; and [rows]: the share
        at the roots, which with them is what `read` gives.
        """
        found, begin, every = np.zeros(rows.shape), np.zeros(len(rows)), np.arange(len(rows))
        for tree in range(len(self.column)):
            column, churn = self.column[tree], self.means[tree, :, 0]
            node = np.zeros(len(rows), np.int32)
            begin += churn[0]
            walking = every[column[node] >= 0]
            while walking.size:
                at = node[walking]
                goes_left = rows[walking, column[at]] <= self.threshold[tree][at]
                node[walking] = np.where(goes_left, self.left[tree, at], self.right[tree, at])
                found[walking, column[at]] += churn[node[walking]] - churn[at]
                walking = walking[column[node[walking]] >= 0]
        return found / len(self.column), begin / len(self.column)


class RandomForest(Model):
    """One forest a horizon, grown for churn. Its leaves also hold the mean purchases and spend of the training examples
    that fall into them.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 120,
        "min_examples_a_leaf": 30,
        "share_of_columns": 0.1,
        "share_of_rows": 0.5,
    }
    space: ClassVar[dict[str, Range]] = {
        "min_examples_a_leaf": (5, 200),
        "share_of_columns": (0.05, 0.6),
        "share_of_rows": (0.2, 0.9),
    }

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        from sklearn.ensemble import RandomForestClassifier

        labels = observed_labels(train.labels)
        self.preparation = Preparation.fit(train.aggregates)
        rows = self.preparation.transform(train.aggregates)
        self.forests = []
        for column in range(len(self.horizons)):
            known = np.isfinite(labels.churn[:, column])
            grown = RandomForestClassifier(
                n_estimators=self.parameters["trees"],
                min_samples_leaf=self.parameters["min_examples_a_leaf"],
                max_features=self.parameters["share_of_columns"],
                max_samples=self.parameters["share_of_rows"],
                random_state=self.seed % 2**32,
                n_jobs=-1,
            ).fit(rows[known], labels.churn[known, column])
            values = np.column_stack([np.maximum(getattr(labels, name)[known, column], 0) for name in VALUES])
            self.forests.append(Forest.of(grown, rows[known], values))

    def _predict(self, data: Dataset) -> Predictions:
        rows = self.preparation.transform(data.aggregates)
        means = np.stack([forest.read(rows) for forest in self.forests], axis=1)
        return Predictions(ordered_by_horizon(means[..., 0], self.horizons), means[..., 1], means[..., 2])

    def contributions(self, data: Dataset, ordinary: Dataset, horizon_index: int) -> pd.DataFrame:
        """The steps of each way through the trees, from the share that churned in training (`Forest.contributions`),
        put on the scale of logits as a whole; `ordinary` is not looked at.
        """
        found, begin = self.forests[horizon_index].contributions(self.preparation.transform(data.aggregates))
        moved = found.sum(axis=1)
        begin = np.clip(begin, 1e-7, 1 - 1e-7)
        change = logit(np.clip(begin + moved, 1e-7, 1 - 1e-7)) - logit(begin)
        # Where ups and downs cancel out, the slope of the logit stands for the ratio.
        slope = np.where(np.abs(moved) > 1e-6, change / np.where(moved == 0, 1, moved), 1 / (begin * (1 - begin)))
        return pd.DataFrame(found * slope[:, None], columns=self.preparation.names)

    def save(self, folder: Path) -> None:
        content = {
            **self.facts(),
            "preparation": self.preparation.to_json(),
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
        for column, forest in enumerate(self.forests):
            np.savez_compressed(folder / f"forest-{column}.npz", **asdict(forest))

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls.from_facts(content)
        model.preparation = Preparation.from_json(content["preparation"])
        model.forests = []
        for column in range(len(model.horizons)):
            with np.load(folder / f"forest-{column}.npz", allow_pickle=False) as arrays:
                model.forests.append(Forest(**arrays))
        return model
