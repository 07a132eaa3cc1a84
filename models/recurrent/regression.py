"""A fitted logistic regression as a layer of a network: the same logits, in single precision, and never trained.

Keras is imported at the top, so this module is imported only where a network is built.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from models.conventional.logistic_regression import LogisticRegression


class Regression(keras.layers.Layer):
    """From the context [..., channels], whose channels from `first` on are the prepared aggregates, to the logits
    [..., horizons].
    """

    def __init__(self, regression: LogisticRegression, first: int, **options: Any) -> None:
        super().__init__(**options)
        self.regression, self.first = regression, first
        weights = np.array(regression.weights["churn"], np.float32)
        self.intercepts, self.slopes = weights[:, 0], weights[:, 1:].T

    def call(self, context: Any) -> Any:
        return ops.matmul(self.regression.columns(context[..., self.first :], ops), self.slopes) + self.intercepts
