"""Keras's cells one step after another in plain arrays, forwards only: for states that are carried, where nothing is
kept of the steps on the way.

Customers stand in descending order of their steps, so that those who still have one are the first rows: none is padded.
`given` [steps of all, gates] is the input's share in the gates, first that of everybody's first step, then of the
second of those who have one, and so on; `counts` says how many have each. States are changed in place.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from features.dataset import Integers

Floats32 = NDArray[np.float32]
Run = Callable[[list[Floats32], Floats32, Integers, Floats32, Floats32], None]
HALF = np.float32(0.5)


def simple_rnn(states: list[Floats32], given: Floats32, counts: Integers, u: Floats32, b: Floats32) -> None:
    for (h,), x in _each(states, given, counts):
        x += h @ u
        np.tanh(x, out=h)


def gru(states: list[Floats32], given: Floats32, counts: Integers, u: Floats32, b: Floats32) -> None:
    """Gates update, reset, candidate; the reset gate comes after the recurrent matrix; the bias has two rows."""
    units = len(u)
    for (h,), x in _each(states, given, counts):
        recalled = h @ u
        recalled += b[1]
        gates, candidate = x[:, : 2 * units], recalled[:, 2 * units :]
        gates += recalled[:, : 2 * units]
        _sigmoid(gates)
        candidate *= gates[:, units:]
        candidate += x[:, 2 * units :]
        np.tanh(candidate, out=candidate)
        h -= candidate
        h *= gates[:, :units]
        h += candidate


def lstm(states: list[Floats32], given: Floats32, counts: Integers, u: Floats32, b: Floats32) -> None:
    """Gates enter, forget, candidate, leave; the states are the output and the cell's content."""
    units = len(u)
    for (h, c), x in _each(states, given, counts):
        x += h @ u
        candidate = np.tanh(x[:, 2 * units : 3 * units])
        _sigmoid(x)
        c *= x[:, units : 2 * units]
        candidate *= x[:, :units]
        c += candidate
        np.tanh(c, out=h)
        h *= x[:, 3 * units :]


CELLS: dict[str, Run] = {"simple_rnn": simple_rnn, "gru": gru, "lstm": lstm}


class ShareOfInput:
    """What makes `given`, from a cell's `kernel` and `bias` and the tables of embedded categories [codes, numbers], in
    the order in which a step's numeric channels and they are joined. What each code adds is worked out once.
    """

    def __init__(self, kernel: Floats32, bias: Floats32, tables: Sequence[Floats32]) -> None:
        sizes = [table.shape[1] for table in tables]
        self._numeric, *parts = np.split(kernel, np.cumsum([len(kernel) - sum(sizes), *sizes])[:-1])
        self._codes = [table @ part for table, part in zip(tables, parts, strict=True)]
        self._bias = bias[0] if bias.ndim == 2 else bias

    def __call__(self, numeric: Floats32, categorical: NDArray[np.int32]) -> Floats32:
        """From steps [steps, channels] to their share [steps, gates]."""
        given = numeric @ self._numeric
        given += self._bias
        for column, added in enumerate(self._codes):
            given += added[categorical[:, column]]
        return given


def _each(states: list[Floats32], given: Floats32, counts: Integers) -> Iterator[tuple[tuple[Floats32, ...], Floats32]]:
    """Step by step the states and the input's share of those who have it."""
    begin = 0
    for count in counts.tolist():
        yield tuple(state[:count] for state in states), given[begin : begin + count]
        begin += count


def _sigmoid(x: Floats32) -> None:
    x *= HALF
    np.tanh(x, out=x)
    x *= HALF
    x += HALF
