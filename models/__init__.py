"""The models by name. Adding one is one file and one line here.

A module of these packages that imports Keras or TensorFlow at its top is itself imported only where a network is built.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.base import Model

MODELS: dict[str, str] = {
    "recency": "models.conventional.recency:Recency",
    "logistic_regression": "models.conventional.logistic_regression:LogisticRegression",
    "random_forest": "models.conventional.random_forest:RandomForest",
    "lightgbm": "models.conventional.lightgbm:LightGBM",
    "hazard_logistic_regression": "models.conventional.hazard_logistic_regression:HazardLogisticRegression",
    "hazard_lightgbm": "models.conventional.hazard_lightgbm:HazardLightGBM",
    "bg_nbd": "models.conventional.bg_nbd:BGNBD",
    "pareto_nbd": "models.conventional.pareto_nbd:ParetoNBD",
    "feed_forward": "models.networks.feed_forward:FeedForward",
    "simple_rnn": "models.recurrent.cells.simple_rnn:SimpleRNN",
    "lstm": "models.recurrent.cells.lstm:LSTM",
    "gru": "models.recurrent.cells.gru:GRU",
    "survival_gru": "models.recurrent.survival_gru:SurvivalGRU",
    "hybrid_gru": "models.recurrent.hybrid_gru:HybridGRU",
    "conventional_pool": "models.pools.conventional_pool:ConventionalPool",
    "recurrent_pool": "models.pools.recurrent_pool:RecurrentPool",
    "twin_pool": "models.pools.twin_pool:TwinPool",
}

POOLED = ("lightgbm", "logistic_regression", "random_forest")  # the members of every pool
POOLS = ("conventional_pool", "recurrent_pool", "twin_pool")  # made of models that were trained before them


def has_memory(name: str) -> bool:
    """Whether the model of that name reads events in order by itself; nothing is imported."""
    return MODELS[name].startswith("models.recurrent.")


def model_class(name: str) -> "type[Model]":
    """The class of a name, imported now; Keras, scikit-learn and LightGBM are imported only when it is used. Raises
    ValueError, which lists the names, for one that is not there.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}: choose among {', '.join(MODELS)}")
    module, _, attribute = MODELS[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
