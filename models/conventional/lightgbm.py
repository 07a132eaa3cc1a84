"""Gradient boosting on the aggregates with LightGBM: what an expert would put first."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from features.dataset import Dataset, Floats
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.numerics import held_out_labels, levelled_loss, logit, observed_labels, ordered_by_horizon

if TYPE_CHECKING:
    import lightgbm

OBJECTIVES = {"churn": "binary", "purchases": "poisson", "spend": "poisson"}
ROWS_A_THREAD = 100_000  # below it, threads cost more than they give


class LightGBM(Model):
    """One booster a horizon and outcome: cross-entropy for churn, Poisson for purchases and spend (it finds the
    mean whatever the distribution). `rounds` holds what early stopping found for each.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "shrinkage": 0.03,
        "leaves": 15,
        "min_examples_a_leaf": 100,
        "share_of_columns": 0.5,
        "share_of_rows": 0.7,
        "l2": 10.0,
        "max_rounds": 600,
        "patience": 50,
        "rounds": {},
    }
    found: ClassVar[tuple[str, ...]] = ("rounds",)
    space: ClassVar[dict[str, Range]] = {
        "shrinkage": (0.01, 0.1),
        "leaves": (4, 63),
        "min_examples_a_leaf": (20, 400),
        "share_of_columns": (0.2, 1.0),
        "share_of_rows": (0.4, 1.0),
        "l2": (0.1, 100.0),
    }

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels = observed_labels(train.labels)
        self.columns = list(train.aggregates.columns)
        self.boosters: dict[str, lightgbm.Booster] = {}
        self.curves = {}
        rounds = {}
        for outcome in OBJECTIVES:
            for column, horizon in enumerate(self.horizons):
                key = f"{outcome}_{horizon}"
                rows = self._rows(train, getattr(labels, outcome)[:, column])
                held = self._rows(valid, getattr(held_out_labels(valid.labels), outcome)[:, column]) if valid else None
                self.boosters[key], self.curves[f"valid_loss_{key}"] = self._boost(outcome, key, rows, held)
                rounds[key] = self.boosters[key].num_trees()
        self.parameters["rounds"] = rounds

    def _predict(self, data: Dataset) -> Predictions:
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        outcomes = [
            np.column_stack(
                [np.asarray(self.boosters[f"{outcome}_{horizon}"].predict(rows)) for horizon in self.horizons]
            )
            for outcome in OBJECTIVES
        ]
        return Predictions(ordered_by_horizon(outcomes[0], self.horizons), outcomes[1], outcomes[2])

    def contributions(self, data: Dataset, ordinary: Dataset, horizon_index: int) -> pd.DataFrame:
        """Exact Shapley values of the trees (Lundberg and others, 2020), from the mean logit of the training examples;
        `ordinary` is not looked at.
        """
        booster = self.boosters[f"churn_{self.horizons[horizon_index]}"]
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        found = np.asarray(booster.predict(rows, pred_contrib=True)).reshape(len(rows), -1)
        return pd.DataFrame(found[:, :-1], columns=self.columns)  # the last is the mean logit itself

    def save(self, folder: Path) -> None:
        content = {
            **self.facts(),
            "columns": self.columns,
        }
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
        for key, booster in self.boosters.items():
            booster.save_model(folder / f"{key}.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import lightgbm

        content = json.loads((folder / "model.json").read_text("utf-8"))
        model = cls.from_facts(content)
        model.columns = content["columns"]
        keys = [f"{outcome}_{horizon}" for outcome in OBJECTIVES for horizon in model.horizons]
        model.boosters = {key: lightgbm.Booster(model_file=folder / f"{key}.txt") for key in keys}
        return model

    def _rows(self, data: Dataset, outcome: Floats) -> tuple[Floats, Floats]:
        """The aggregates and outcomes of the examples whose outcome was observed; refunds count as no spend."""
        known = np.isfinite(outcome)
        return data.aggregates[self.columns].to_numpy(np.float64)[known], np.maximum(outcome[known], 0)

    def _boost(
        self, outcome: str, key: str, train: tuple[Floats, Floats], valid: tuple[Floats, Floats] | None
    ) -> tuple["lightgbm.Booster", list[float]]:
        """The booster, cut back to its best round, and its losses on `valid` round by round."""
        import lightgbm

        chosen = self.parameters
        options = {
            "objective": OBJECTIVES[outcome],
            "learning_rate": chosen["shrinkage"],
            "num_leaves": chosen["leaves"],
            # A leaf must not need a tenth of a small training set.
            "min_data_in_leaf": max(min(chosen["min_examples_a_leaf"], len(train[0]) // 50), 1),
            "feature_fraction": chosen["share_of_columns"],
            "bagging_fraction": chosen["share_of_rows"],
            "bagging_freq": 1,
            "lambda_l2": chosen["l2"],
            "max_bin": 127,
            "seed": self.seed % 2**31,
            "num_threads": min(os.cpu_count() or 1, 1 + len(train[0]) // ROWS_A_THREAD),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(train[0], train[1])
        if valid is None or not len(valid[0]):
            return lightgbm.train(options, data, chosen["rounds"].get(key, chosen["max_rounds"] // 3)), []
        losses: dict[str, dict[str, list[float]]] = {}
        feval = _levelled if outcome == "churn" else None
        if feval:
            options["metric"] = "None"
        stop = lightgbm.early_stopping(chosen["patience"], verbose=False)
        callbacks: list[Callable[..., Any]] = [lightgbm.record_evaluation(losses), stop]
        held = lightgbm.Dataset(valid[0], valid[1], reference=data)
        booster = lightgbm.train(options, data, chosen["max_rounds"], [held], ["valid"], feval, callbacks=callbacks)
        best = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))
        return best, next(iter(losses["valid"].values()))


def _levelled(probability: Floats, data: "lightgbm.Dataset") -> tuple[str, float, bool]:
    """What churn's boosters stop by, as networks do: name, value, and that less is better."""
    return "levelled_log_loss", levelled_loss(np.asarray(data.get_label())[:, None], logit(probability)[:, None]), False
