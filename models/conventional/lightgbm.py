"""Gradient boosting on the aggregates with LightGBM: what an expert would put first."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Family, Model, OnEpoch, Predictions, Range, View
from models.information import columns_read
from models.labels import VALUES, base_rates, held_out_labels, observed_labels, observed_values
from models.numerics import intercept_adjusted_loss, logit, ordered_by_horizon, sigmoid

if TYPE_CHECKING:
    import lightgbm

OBJECTIVES = {"churn": "binary", "purchases": "poisson", "spend": "poisson"}
BETWEEN_BAGS = 7_919  # of random states
ROWS_A_THREAD = 100_000  # below it, threads cost more than they give


class LightGBM(Model):
    """Boosters for each horizon and outcome: cross-entropy for churn, Poisson for purchases and spend (it finds the
    mean whatever the distribution). Churn has `bags` of them, each with a random state of its own (so with rows and
    columns of its own), whose logits are averaged; the others have one. `rounds` holds what early stopping found for
    each. With `extra_trees` a node tries one random threshold a column (Geurts, Ernst & Wehenkel 2006).
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    defaults: ClassVar[dict[str, Any]] = {
        "bags": 3,
        "calendar": True,
        "categories": True,
        "shrinkage": 0.03,
        "leaves": 15,
        "min_examples_a_leaf": 100,
        "share_of_columns": 0.5,
        "share_of_rows": 0.7,
        "l2": 10.0,
        "extra_trees": False,
        "max_bins": 127,
        "max_rounds": 600,
        "patience": 50,
        "rounds": {},
    }
    found_by_fit: ClassVar[tuple[str, ...]] = ("rounds",)
    least_trials: ClassVar[int] = 50
    space: ClassVar[dict[str, Range]] = {
        "shrinkage": (0.01, 0.15),
        "leaves": (3, 63),
        "min_examples_a_leaf": (10, 800),
        "share_of_columns": (0.1, 1.0),
        "share_of_rows": (0.3, 1.0),
        "l2": (0.01, 300.0),
        "extra_trees": [False, True],
        "max_bins": [31, 127, 255],
    }

    @property
    def spent(self) -> dict[str, int]:
        return {"trees": sum(booster.num_trees() for booster in self.boosters.values())}

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels, self.columns = observed_labels(train.labels), columns_read(train, self.parameters)
        held_out = valid and held_out_labels(valid.labels)

        def boost(key: BoosterKey) -> tuple["lightgbm.Booster", list[float]]:
            column = self.horizons.index(key.horizon)
            rows = self._rows(train, getattr(labels, key.outcome)[:, column])
            judged_by = None
            if valid and held_out:
                judged_by = self._rows(valid, getattr(held_out, key.outcome)[:, column])
            return self._boost(key, rows, judged_by)

        self.values = observed_values(labels)
        keys = self._keys(self.parameters["bags"])
        # Few rows leave a booster with one thread: several are grown side by side, those of most rounds (of purchases
        # and spend, the last keys) first, so that no core waits for one of them at the end.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            grown = dict(zip(keys[::-1], pool.map(boost, keys[::-1]), strict=True))
        self.boosters = {key: grown[key][0] for key in keys}
        self.curves = {f"valid_loss_{key}": grown[key][1] for key in keys}
        self.parameters["rounds"] = {str(key): booster.num_trees() for key, booster in self.boosters.items()}

    def _predict(self, data: Dataset) -> Predictions:
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        logits = [
            np.mean([booster.predict(rows, raw_score=True) for booster in self._bags(horizon)], axis=0)
            for horizon in self.horizons
        ]
        expected = {
            f"expected_{outcome}": np.column_stack(
                [self.boosters[BoosterKey(outcome, horizon)].predict(rows) for horizon in self.horizons]
            )
            for outcome in self.values
        }
        return Predictions(ordered_by_horizon(sigmoid(np.column_stack(logits)), self.horizons), **expected)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """Exact Shapley values of the trees (Lundberg and others, 2020), from the mean logit of the training examples,
        and their mean over the bags; `baseline` is not used.
        """
        rows = data.aggregates[self.columns].to_numpy(np.float64)
        bags = self._bags(self.horizons[horizon_index])
        shapley = np.mean([np.asarray(booster.predict(rows, pred_contrib=True)) for booster in bags], axis=0)
        # The last column is the mean logit itself.
        return pd.DataFrame(shapley.reshape(len(rows), -1)[:, :-1], columns=self.columns)

    def _keys(self, bags: int) -> "list[BoosterKey]":
        churn = [BoosterKey("churn", horizon, bag) for horizon in self.horizons for bag in range(bags)]
        return churn + [BoosterKey(outcome, horizon) for outcome in self.values for horizon in self.horizons]

    def _bags(self, horizon: int) -> "list[lightgbm.Booster]":
        return [booster for key, booster in self.boosters.items() if (key.outcome, key.horizon) == ("churn", horizon)]

    def _save(self, folder: Path) -> dict[str, Any]:
        for key, booster in self.boosters.items():
            booster.save_model(folder / f"{key}.txt")
        return {"columns": self.columns, "values": self.values}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        import lightgbm

        self.columns, self.values = content["columns"], content.get("values", list(VALUES))
        # An artefact of before there were bags has one booster.
        self.parameters["bags"] = content["parameters"].get("bags", 1)
        keys = self._keys(self.parameters["bags"])
        self.boosters = {key: lightgbm.Booster(model_file=folder / f"{key}.txt") for key in keys}

    def _rows(self, data: Dataset, outcome: Floats) -> tuple[Floats, Floats]:
        """The aggregates and outcomes of the examples whose outcome was observed; refunds count as no spend."""
        observed = np.isfinite(outcome)
        return data.aggregates[self.columns].to_numpy(np.float64)[observed], np.maximum(outcome[observed], 0)

    def _boost(
        self, key: "BoosterKey", train: tuple[Floats, Floats], valid: tuple[Floats, Floats] | None
    ) -> tuple["lightgbm.Booster", list[float]]:
        """The booster, cut back to its best round, and its losses on `valid` round by round."""
        import lightgbm

        if train[1].min(initial=np.inf) == train[1].max(initial=-np.inf):
            return _constant(key.outcome, *train), []
        parameters = self.parameters
        options = {
            "objective": OBJECTIVES[key.outcome],
            "learning_rate": parameters["shrinkage"],
            "num_leaves": parameters["leaves"],
            # A leaf must not need a tenth of a small training set.
            "min_data_in_leaf": max(min(parameters["min_examples_a_leaf"], len(train[0]) // 50), 1),
            "feature_fraction": parameters["share_of_columns"],
            "bagging_fraction": parameters["share_of_rows"],
            "bagging_freq": 1,
            "lambda_l2": parameters["l2"],
            "extra_trees": parameters["extra_trees"],
            "max_bin": parameters["max_bins"],
            "seed": (self.random_state + BETWEEN_BAGS * key.bag) % 2**31,
            "num_threads": min(os.cpu_count() or 1, 1 + len(train[0]) // ROWS_A_THREAD),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(train[0], train[1])
        if valid is None or not len(valid[0]):
            return lightgbm.train(options, data, self._planned_rounds(key)), []
        losses: dict[str, dict[str, list[float]]] = {}
        feval = _intercept_adjusted if key.outcome == "churn" else None
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

    def _planned_rounds(self, key: "BoosterKey") -> int:
        """What validation found for this booster; else for the first of its bags; else a third of the most."""
        found = self.parameters["rounds"]
        return int(found.get(str(key), found.get(str(replace(key, bag=0)), self.parameters["max_rounds"] // 3)))


@dataclass(frozen=True)
class BoosterKey:
    """Which booster: its outcome, horizon in days, and number among the bags; as text its file and curve."""

    outcome: str
    horizon: int
    bag: int = 0

    def __str__(self) -> str:
        return f"{self.outcome}_{self.horizon}" + (f"_bag_{self.bag}" if self.bag else "")


def _constant(outcome: str, rows: Floats, values: Floats) -> "lightgbm.Booster":
    """What always expects the one value that all examples have, which a Poisson loss cannot learn where it is 0: of
    churn the logit of the base rate, which has half a case of either outcome added; one tree of a single leaf.
    """
    import lightgbm

    level = float(np.ravel(logit(base_rates(values[:, None])))[0]) if outcome == "churn" else float(values.mean())
    options = {"objective": "regression", "verbosity": -1, "num_threads": 1, "deterministic": True}
    return lightgbm.train(options, lightgbm.Dataset(rows, np.full(len(rows), level)), 1)


def _intercept_adjusted(probability: Floats, data: "lightgbm.Dataset") -> tuple[str, float, bool]:
    """What churn's boosters stop by, as networks do: name, value, and that lower is better."""
    loss = intercept_adjusted_loss(np.asarray(data.get_label())[:, None], logit(probability)[:, None])
    return "intercept_adjusted_log_loss", loss, False
