"""Why a model thinks that a customer is at risk, by the way that suits the model.

Trees give the Shapley values of their trees (LightGBM) or the steps of the ways through them (random forest), a
regression its weights, a network integrated gradients; occlusion, which works through `predict` alone, serves the rest,
and is the oracle of the others.
"""

import numpy as np
import pandas as pd

from features.dataset import Dataset
from models.base import Model
from models.evaluation.ablation import with_own_histories
from models.explanation.feature_groups import group_of
from models.explanation.occlusion import occlusion

ORDINARY = 1_000
"""So many customers of a population, evenly spread over it, say what is ordinary."""


def attributions(
    model: Model, data: Dataset, horizon_index: int = 0, population: Dataset | None = None
) -> pd.DataFrame:
    """`[examples, groups]`: by how much each group of inputs (`themes.group_of`) moves the churn logit of each example,
    at the horizon of that index, from that of a customer who is ordinary in `population` (default `data`).
    """
    ordinary = sample(population if population is not None else data, ORDINARY)
    found = None
    if len(data):
        found = model.contributions(with_own_histories(data), with_own_histories(ordinary), horizon_index)
    if found is None:
        return occlusion(model, data, horizon_index, ordinary)
    groups = [group_of(column) for column in found.columns]
    # What a model says of itself is said before calibration, which stretches every logit alike.
    values = found.to_numpy() * (model.calibration.slope(horizon_index) if model.calibration else 1.0)
    return pd.DataFrame({group: values[:, np.array(groups) == group].sum(axis=1) for group in dict.fromkeys(groups)})


def sample(data: Dataset, size: int) -> Dataset:
    """At most `size` examples, evenly spread over `data`."""
    if len(data) <= size:
        return data
    return data.select(np.arange(size) * len(data) // size)
