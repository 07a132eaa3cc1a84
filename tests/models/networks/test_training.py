"""Early stopping, by scripted losses on validation."""

import keras
import numpy as np
import pytest

from models.networks.training import Plan, Update, Validation, train

CONSTANT = 0.69


class Scripted(Update):
    """A network of one weight, which after each epoch is that epoch's number."""

    def __init__(self, epochs: int, patience: int) -> None:
        self.network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.plan = Plan("adam", 0.1, 0.0, epochs, epochs, patience, 1, 1, 0)
        self.epochs = 0

    def epoch(self, epoch: int) -> float:
        self.epochs = epoch
        return 0.0

    def averaged_weights(self) -> np.ndarray:
        return np.array([self.epochs], np.float32)


@pytest.mark.parametrize(
    ("losses", "trained", "best"),
    [
        ([0.60, 0.50, 0.51, 0.52, 0.40], 4, 2),  # patience of two
        ([0.70, 0.71, 0.70, 0.71, 0.40], 5, 5),  # no better than a constant: it goes on, and learns late
        ([0.689, 0.70, 0.71, 0.70, 0.71], 5, 1),  # better by chance is not learnt
    ],
)
def test_patience_begins_once_a_network_beats_a_constant(losses: list[float], trained: int, best: int) -> None:
    update = Scripted(epochs=len(losses), patience=2)
    epoch, curves = train(update, Validation(lambda weights: losses[int(weights[0]) - 1], CONSTANT), None)
    assert (update.epochs, epoch) == (trained, best)
    assert curves["valid_log_loss"] == losses[:trained]
    assert update.network.get_weights()[0].item() == best
