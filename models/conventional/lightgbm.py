"""Gradient boosting on the aggregates with LightGBM: what an expert would put first."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.labels import held_out_labels, observed_labels
from models.numerics import intercept_adjusted_loss, logit, ordered_by_horizon

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
    found_by_fit: ClassVar[tuple[str, ...]] = ("rounds",)
    least_trials: ClassVar[int] = 50
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
                held_out = None
                if valid:
                    held_out = self._rows(valid, getattr(held_out_labels(valid.labels), outcome)[:, column])
                self.boosters[key], self.curves[f"valid_loss_{key}"] = self._boost(outcome, key, rows, held_out)
                rounds[key] = self.boosters[key].num_trees()
        self.parameters["rounds"] = rounds

    def _predict(self, data: Dataset) -> Predictions:
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        churn, purchases, spend = (
            np.column_stack([self.boosters[f"{outcome}_{horizon}"].predict(rows) for horizon in self.horizons])
            for outcome in OBJECTIVES
        )
        return Predictions(ordered_by_horizon(churn, self.horizons), purchases, spend)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """Exact Shapley values of the trees (Lundberg and others, 2020), from the mean logit of the training examples;
        `baseline` is not used.
        """
        booster = self.boosters[f"churn_{self.horizons[horizon_index]}"]
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        shapley = np.asarray(booster.predict(rows, pred_contrib=True)).reshape(len(rows), -1)
        return pd.DataFrame(shapley[:, :-1], columns=self.columns)  # the last is the mean logit itself

    def _save(self, folder: Path) -> dict[str, Any]:
        for key, booster in self.boosters.items():
            booster.save_model(folder / f"{key}.txt")
        return {"columns": self.columns}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        import lightgbm

        self.columns = content["columns"]
        keys = [f"{outcome}_{horizon}" for outcome in OBJECTIVES for horizon in self.horizons]
        self.boosters = {key: lightgbm.Booster(model_file=folder / f"{key}.txt") for key in keys}

    def _rows(self, data: Dataset, outcome: Floats) -> tuple[Floats, Floats]:
        """The aggregates and outcomes of the examples whose outcome was observed; refunds count as no spend."""
        observed = np.isfinite(outcome)
        return data.aggregates[self.columns].to_numpy(np.float64)[observed], np.maximum(outcome[observed], 0)

    def _boost(
        self, outcome: str, key: str, train: tuple[Floats, Floats], valid: tuple[Floats, Floats] | None
    ) -> tuple["lightgbm.Booster", list[float]]:
        """The booster, cut back to its best round, and its losses on `valid` round by round."""
        import lightgbm

        parameters = self.parameters
        options = {
            "objective": OBJECTIVES[outcome],
            "learning_rate": parameters["shrinkage"],
            "num_leaves": parameters["leaves"],
            # A leaf must not need a tenth of a small training set.
            "min_data_in_leaf": max(min(parameters["min_examples_a_leaf"], len(train[0]) // 50), 1),
            "feature_fraction": parameters["share_of_columns"],
            "bagging_fraction": parameters["share_of_rows"],
            "bagging_freq": 1,
            "lambda_l2": parameters["l2"],
            "max_bin": 127,
            "seed": self.random_state % 2**31,
            "num_threads": min(os.cpu_count() or 1, 1 + len(train[0]) // ROWS_A_THREAD),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(train[0], train[1])
        if valid is None or not len(valid[0]):
            return lightgbm.train(options, data, parameters["rounds"].get(key, parameters["max_rounds"] // 3)), []
        losses: dict[str, dict[str, list[float]]] = {}
        feval = _intercept_adjusted if outcome == "churn" else None
        if feval:
            options["metric"] = "None"
        stop = lightgbm.early_stopping(parameters["patience"], verbose=False)
        callbacks: list[Callable[..., Any]] = [lightgbm.record_evaluation(losses), stop]
        held_out = lightgbm.Dataset(valid[0], valid[1], reference=data)
        booster = lightgbm.train(
            options, data, parameters["max_rounds"], [held_out], ["valid"], feval, callbacks=callbacks
        )
        best = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))
        return best, next(iter(losses["valid"].values()))


def _intercept_adjusted(probability: Floats, data: "lightgbm.Dataset") -> tuple[str, float, bool]:
    """What churn's boosters stop by, as networks do: name, value, and that lower is better."""
    loss = intercept_adjusted_loss(np.asarray(data.get_label())[:, None], logit(probability)[:, None])
    return "intercept_adjusted_log_loss", loss, False
