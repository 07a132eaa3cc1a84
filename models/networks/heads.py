"""The heads that every network ends in."""

from dataclasses import dataclass
from typing import Any

from keras import KerasTensor, initializers, layers, ops


@dataclass(frozen=True)
class HeadConfig:
    """`churn_bias` [horizons] are the logits that the churn head starts at: the base rates'."""

    units: int
    dropout: float
    churn_bias: list[float]


def heads(seen: KerasTensor, config: HeadConfig) -> dict[str, KerasTensor]:
    """From `seen` [..., channels]: a hidden layer, and for each horizon a `churn` logit and the logarithms of expected
    `purchases` and `spend` in units of `ValueScale`; each is [..., horizons].
    """
    horizons = len(config.churn_bias)
    hidden = layers.Dropout(config.dropout)(layers.Dense(config.units, activation="relu", name="hidden")(seen))
    return {
        "churn": layers.Dense(horizons, bias_initializer=StartAt(config.churn_bias), name="churn")(hidden),
        "purchases": layers.Dense(horizons, name="purchases")(hidden),
        "spend": layers.Dense(horizons, name="spend")(hidden),
    }


class StartAt(initializers.Initializer):
    """Fixed numbers: a head that starts at the base rate need not spend its first epochs on finding it."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        return ops.convert_to_tensor(self.values, dtype)
