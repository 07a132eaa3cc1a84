"""A pool with a member that carries a state, one night after another."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from features.dataset import Dataset, Sequences
from features.sequences.encoding import StateAtCutoff
from models.base import Predictions, Stepper


class PoolStepper:
    """Carries the state of one member by its `stepper`. `predict` makes the pool's predictions of the other members'
    data and that member's predictions.
    """

    def __init__(
        self,
        stepper: Stepper,
        horizons: tuple[int, ...],
        predict: Callable[[Dataset, Predictions], Predictions],
    ) -> None:
        self.width = stepper.width
        self._stepper, self._horizons, self._predict = stepper, horizons, predict

    def trace(self) -> None:
        self._stepper.trace()

    def start(self, customers: int) -> NDArray[np.float32]:
        return self._stepper.start(customers)

    def advance(self, states: NDArray[np.float32], sequences: Sequences, previous: Integers) -> NDArray[np.float32]:
        return self._stepper.advance(states, sequences, previous)

    def predict(
        self, states: NDArray[np.float32], at_cutoff: StateAtCutoff, aggregates: pd.DataFrame | None
    ) -> Predictions:
        assert aggregates is not None
        data = _without_histories(at_cutoff, aggregates, self._horizons)
        return self._predict(data, self._stepper.predict(states, at_cutoff, aggregates))

    def survival(
        self,
        states: NDArray[np.float32],
        at_cutoff: StateAtCutoff,
        aggregates: pd.DataFrame | None,
        days: Integers,
    ) -> Floats | None:
        return self._stepper.survival(states, at_cutoff, aggregates, days)


def _without_histories(at_cutoff: StateAtCutoff, aggregates: pd.DataFrame, horizons: tuple[int, ...]) -> Dataset:
    """What models without a memory read of the customers. Of their events there is the time of the last alone."""
    each = np.arange(len(aggregates))
    last = Sequences(np.arange(len(each) + 1), at_cutoff.last, {}, {}, each, np.ones_like(each))
    nobody = np.full(len(each), None, dtype=object)
    return Dataset(horizons, nobody, at_cutoff.cutoff, aggregates, last, labels=None)
