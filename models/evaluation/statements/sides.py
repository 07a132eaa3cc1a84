"""The two sides of a comparison, and who stands for them."""

import math
from collections.abc import Iterable, Sequence

from models.base import Family
from models.evaluation.result import Result

RECURRENT_SIDE: tuple[Family, ...] = ("recurrent", "hybrid")
CONVENTIONAL_SIDE: tuple[Family, ...] = ("conventional", "neural")


def contenders(results: Iterable[Result], side: Sequence[Family]) -> list[Result]:
    """The results of a side that compete, in their order. A pool whose member was not chosen does not."""
    return [result for result in results if result.family in side and result.chosen]


def best_of(results: Iterable[Result], side: Sequence[Family]) -> Result | None:
    """The contender of a side with the lowest validation log loss; of equals, the first by name. The test is not used.
    None where no contender has one.
    """
    scored = [
        (result.valid_log_loss, result.name, result)
        for result in contenders(results, side)
        if result.valid_log_loss is not None and math.isfinite(result.valid_log_loss)
    ]
    return min(scored, key=lambda entry: entry[:2])[2] if scored else None
