"""What the functions over events must know of a question and its attributes: plain values, so that they can be sent to
wherever the events lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FeatureSpec:
    """The terms of a question (see `features.question.Question`), in days and event types, and the names of the
    events' attributes. `told_apart` maps a text column to the values that have aggregates of their own, `excluded` a
    column to the values whose events are left out; `primary_index` is the place of the primary horizon.
    """

    active_within: int
    horizons: tuple[int, ...]
    gap: int = 0
    activity: tuple[str, ...] = ()
    comes_back_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()
    told_apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    primary_index: int = 0
    next_event: bool = False
    calendar: bool = True
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    @property
    def longest_reach(self) -> int:
        """The days from a cutoff until its longest horizon has closed."""
        return self.gap + max(self.horizons)

    @property
    def amounts(self) -> tuple[str, ...]:
        """The numeric columns of an event: those of every event, and the numeric attributes."""
        return ("amount", "quantity", *self.numeric)

    @property
    def texts(self) -> tuple[str, ...]:
        """The categorical columns of an event: its type, and the categorical attributes."""
        return ("event_type", *self.categorical)
