"""The wide head, which reads a hybrid's aggregates and nothing else: a linear model on their hinge basis.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from typing import Any

from keras import layers, ops, regularizers

from models.networks.heads import StartAt
from models.networks.hinge_basis import HingeBasis

L2 = 0.02  # times the sum of the squared slopes is added to the head's loss: the columns are much alike


class WideHead(layers.Layer):
    """From the context [..., channels], whose channels from `first` on are the prepared aggregates, to churn logits
    [..., horizons], which start at `churn_bias`.
    """

    def __init__(self, basis: HingeBasis, first: int, churn_bias: list[float], **options: Any) -> None:
        super().__init__(**options)
        self.basis, self.first = basis, first
        self.line = layers.Dense(
            len(churn_bias),
            kernel_initializer="zeros",
            bias_initializer=StartAt(churn_bias),
            kernel_regularizer=regularizers.L2(L2),
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.line.build((*input_shape[:-1], self._expand(ops.zeros((1, input_shape[-1]))).shape[-1]))

    def call(self, context: Any) -> Any:
        return self.line(self._expand(context))

    def _expand(self, context: Any) -> Any:
        return self.basis.expand(context[..., self.first :], ops)


WideHead.__name__ = "Direct"  # Keras stores weights under the name of the class: artefacts rely on it
