"""Why a model thinks that a customer is at risk, by the method that suits the model.

Trees give the Shapley values of their trees (LightGBM) or the steps of the paths through them (random forest), a
regression its weights, a network integrated gradients; occlusion, which needs `predict` alone, serves the rest, and is
the oracle of the others.
"""

import numpy as np
import pandas as pd

from features.dataset import Dataset
from models.base import Model
from models.evaluation.ablation import with_own_histories
from models.explanation.feature_groups import group_of
from models.explanation.occlusion import occlusion

BASELINE = 1_000  # customers at the most, evenly spread over a population, are the baseline


def attributions(model: Model, data: Dataset, horizon_index: int, population: Dataset) -> pd.DataFrame:
    """`[examples, groups]`: by how much each feature group (`feature_groups.group_of`) moves the churn logit of each
    example, at the horizon of that index, from that of a typical customer of `population`.
    """
    baseline = sample(population, BASELINE)
    columns = None
    if len(data):
        columns = model.contributions(with_own_histories(data), with_own_histories(baseline), horizon_index)
    if columns is None:
        return occlusion(model, data, horizon_index, baseline)
    groups = [group_of(column) for column in columns.columns]
    # Contributions are before calibration, which stretches every logit alike.
    values = columns.to_numpy() * (model.calibration.slope(horizon_index) if model.calibration else 1.0)
    return pd.DataFrame({group: values[:, np.array(groups) == group].sum(axis=1) for group in dict.fromkeys(groups)})


def sample(data: Dataset, size: int) -> Dataset:
    """At most `size` examples, evenly spread over `data`."""
    if len(data) <= size:
        return data
    return data.select(np.arange(size) * len(data) // size)
