"""Examples as a twin reads them: what is known at each cutoff, and no step before it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import Integers
from features.dataset import Labels
from features.sequences.gaps import NextEvent
from models.labels import HEADS
from models.recurrent.batches import Chunks, Floats32, cut_batches

FORWARD_BATCH = 8_192


@dataclass(frozen=True)
class CutoffReader:
    """The `compiled.Reader` of a model without memory. When training, the `chunks` are those of the histories, so that
    batches hold the examples that a recurrent layer would be asked together; else every example stands alone.
    """

    context: Floats32  # [examples, context channels]
    labels: Labels | None
    recency: Floats32  # [examples], days from the last event to the cutoff
    chunks: Chunks | None = None
    following: NextEvent | None = None  # what a survival head learns from, when training

    @property
    def examples(self) -> int:
        return len(self.context)

    def cut(self, batch_size: int, max_padded: int, random: np.random.Generator | None = None) -> list[Integers]:
        if self.chunks is not None:
            return cut_batches(self.chunks.length, batch_size, max_padded, random)
        size = min(FORWARD_BATCH, max_padded)
        return [np.arange(begin, min(begin + size, self.examples)) for begin in range(0, self.examples, size)]

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        """The arrays of one batch, and the examples `[batch, queries]` that its outputs belong to (-1: none): `context`
        [batch, queries, channels], `recency` [batch, queries]; and when training each label [batch, queries, horizons],
        `inter_event_days` from the last event to the next and `event_observed` [batch, queries], NaN where there is
        none.
        """
        example = batch[:, None] if self.chunks is None else self.chunks.examples(batch)
        taken = example >= 0
        arrays: dict[str, NDArray[Any]] = {"context": self.context[example], "recency": self.recency[example]}
        if self.following is not None:
            days = self.recency[example] + self.following.days[example]
            arrays["inter_event_days"] = np.where(taken, days, np.nan).astype(np.float32)
            arrays["event_observed"] = np.where(taken, self.following.ended[example], np.nan).astype(np.float32)
        if self.labels is not None:
            for name in HEADS:
                values = getattr(self.labels, name)[example].astype(np.float32)
                arrays[name] = np.where(taken[..., None], values, np.float32(np.nan))
        return arrays, example
