"""The head that reads a hybrid's aggregates and nothing else: straight lines that bend.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from typing import Any

from keras import layers, ops, regularizers

from models.networks.heads import StartAt
from models.networks.hinge_basis import Bends

HELD = 0.02  # times the sum of the squared slopes is added to the head's loss: the columns say much the same


class Direct(layers.Layer):
    """From the context [..., channels], whose channels from `first` on are the prepared aggregates, to churn logits
    [..., horizons], which start at `churn_bias`.
    """

    def __init__(self, bends: Bends, first: int, churn_bias: list[float], **options: Any) -> None:
        super().__init__(**options)
        self.bends, self.first = bends, first
        self.line = layers.Dense(
            len(churn_bias),
            kernel_initializer="zeros",
            bias_initializer=StartAt(churn_bias),
            kernel_regularizer=regularizers.L2(HELD),
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.line.build((*input_shape[:-1], self._widened(ops.zeros((1, input_shape[-1]))).shape[-1]))

    def call(self, context: Any) -> Any:
        return self.line(self._widened(context))

    def _widened(self, context: Any) -> Any:
        return self.bends.widened(context[..., self.first :], ops)
