"""Flat columns that need not fit in memory: a long one lies in a file of its own, which the system pages in and out."""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from features.arrays import Integers

LONGEST_IN_MEMORY = 1 << 27  # bytes
STEPS_AT_ONCE = 1_000_000


def flat(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A new array to be filled; a long one in a temporary file that is gone with the process, however that ends."""
    if np.prod(shape) * np.dtype(dtype).itemsize <= LONGEST_IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype, mode="w+", shape=shape))


def runs(offsets: Integers, steps: int | None = None) -> Iterator[tuple[int, int]]:
    """Runs `[first, last)` of whole histories, about `steps` steps each (by default STEPS_AT_ONCE) and at least one
    history; one run, empty, where there are none.
    """
    begin, size = 0, steps or STEPS_AT_ONCE
    while True:
        end = int(np.searchsorted(offsets, offsets[begin] + size, side="right")) - 1
        end = min(max(end, begin + 1), len(offsets) - 1)
        yield begin, end
        if end == len(offsets) - 1:
            return
        begin = end
