"""What a comparison compares: the test set, and what each model predicts of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.base import Family
from models.evaluation.intervals import CustomerWeights, customer_weights

REPLICATES = 10_000  # of the statements and the metrics that are means


@dataclass(frozen=True)
class Window:
    """One forward test period: from its first cutoff until the horizon of its last one closes."""

    start: datetime
    end: datetime


@dataclass(frozen=True, eq=False)
class TestSet:
    """A row is an example and a seed: all examples of the first seed, then the same examples of the next. `digest` is
    that of the examples. Churn, purchases and spend are within the primary horizon, all observed.
    """

    __test__: ClassVar[bool] = False  # pytest would collect a class of this name

    question_digest: str
    digest: str
    windows: tuple[Window, ...]  # oldest first
    window: NDArray[np.int64]  # [rows], position in `windows`
    seed: NDArray[np.int64]  # [rows], counted from 0
    customer_id: NDArray[np.object_]  # [rows], strings
    cutoff: NDArray[np.int64]  # [rows], microseconds since 1970 in UTC
    labels: NDArray[np.float64]  # [rows], 1 where the customer churned
    values: Mapping[str, NDArray[np.float64]]  # purchases and spend -> [rows]

    @property
    def seeds(self) -> int:
        return int(self.seed.max()) + 1 if len(self.seed) else 1

    def windows_json(self) -> list[dict[str, Any]]:
        """Each window's `start` and `end` as text, and its number of `examples`."""
        counts = np.bincount(self.window[self.seed == 0], minlength=len(self.windows))
        return [
            {"start": window.start.isoformat(), "end": window.end.isoformat(), "examples": int(count)}
            for window, count in zip(self.windows, counts, strict=True)
        ]

    def weights(self, random_state: int, replicates: int = REPLICATES) -> CustomerWeights:
        """Draws of its customers and seeds."""
        first = self.seed == 0
        return customer_weights(self.customer_id[first], replicates, random_state, self.window[first], self.seeds)

    def of_examples(self, values: NDArray[Any]) -> NDArray[Any]:
        """[rows] from [examples]: the same for every seed."""
        return np.tile(values, self.seeds)


@dataclass(frozen=True, eq=False)
class Result:
    """One model's run. `test_digest` is the digest of the test examples that it predicted; `test_probability [rows]`
    are its churn probabilities for them at the primary horizon, in their order, and `test_probability_before` those of
    the fit that was then refitted on all that was known when the test began, None where there was no refit.
    `valid_log_loss` is what it is chosen by, intercept-adjusted, on validation and calibration; None where they could
    not be scored. Seconds are wall seconds. `information` is the digest of all that it could know and `budget` what it
    could spend, in words: both are the same for every model of a comparison; `spent` is what it did spend: `trials`,
    `epochs`, `networks`, `trees`. `test_purchases` and `test_spend` are its expectations, None where it has none.

    `members` are the recurrent models of a pool that takes one in, one a window, oldest first, or in `twin_pool` those
    whose twins the pool has; None in a window in which none was chosen. `chosen` is False where none was in any, and
    the pool was made with those that ranked best: it is then no contender.
    """

    name: str
    family: Family
    run_id: str
    test_digest: str
    valid_log_loss: float | None
    test_probability: ArrayLike
    fit_seconds: float
    predict_customers_per_second: float
    information: str = ""
    budget: str = ""
    test_purchases: ArrayLike | None = None
    test_spend: ArrayLike | None = None
    test_probability_before: ArrayLike | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    members: Sequence[str | None] = ()
    chosen: bool = True

    @property
    def member(self) -> str | None:
        """The latest of the members."""
        return next((member for member in reversed(self.members) if member), None)
