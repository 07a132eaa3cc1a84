"""The heads that every network ends in. Keras is imported at the top: imported only where a network is built."""

from typing import Any

from keras import KerasTensor, initializers, layers


def heads(
    seen: KerasTensor, horizons: int, units: int, dropout: float, churn_bias: list[float]
) -> dict[str, KerasTensor]:
    """From `seen` [..., channels]: a hidden layer, and for each horizon a `churn` logit (whose bias starts at
    `churn_bias`, the base rate's), and the logarithms of expected `purchases` and `spend` in units of
    `outcomes.ValueScale`; each is [..., horizons].
    """
    hidden = layers.Dropout(dropout)(layers.Dense(units, activation="relu", name="hidden")(seen))
    return {
        "churn": layers.Dense(horizons, bias_initializer=StartAt(churn_bias), name="churn")(hidden),
        "purchases": layers.Dense(horizons, name="purchases")(hidden),
        "spend": layers.Dense(horizons, name="spend")(hidden),
    }


class StartAt(initializers.Initializer):
    """Given numbers: a head that starts at the base rate need not spend its first epochs on finding it."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        from keras import ops

        return ops.convert_to_tensor(self.values, dtype)
