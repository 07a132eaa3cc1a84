"""The question: who is asked about, when, and what. One object; its digest is in every run and every prediction row."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Days = Annotated[int, Field(gt=0, le=3650, strict=True)]


class Question(BaseModel):
    """Who: customers with at least one event in `[cutoff - active_within, cutoff)`. When: every `cutoff_every` days.
    What: for each horizon, whether they churn (no event in `[cutoff, cutoff + horizon)`), how often they purchase and
    how much they spend. All lengths are days; all cutoffs are midnights in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    active_within: Days = 91
    """Only customers with an event in this many days before the cutoff are asked about."""
    horizons: tuple[Days, ...] = (28,)
    """The lengths of the future that is asked about, in days."""
    primary_horizon: Days | None = None
    """The horizon that models are compared on; by default the first of `horizons`."""
    cutoff_every: Days = 7
    """The days between the cutoffs that models learn from."""

    @model_validator(mode="after")
    def _horizons_are_usable(self) -> "Question":
        if not self.horizons:
            raise ValueError("horizons must name at least one length in days, for example horizons = [28]")
        if len(set(self.horizons)) != len(self.horizons):
            raise ValueError(f"horizons {list(self.horizons)} names a length twice")
        if self.primary not in self.horizons:
            raise ValueError(f"primary_horizon {self.primary_horizon} is not one of horizons {list(self.horizons)}")
        return self

    @property
    def primary(self) -> int:
        """The primary horizon, in days."""
        return self.primary_horizon or self.horizons[0]

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the question's canonical JSON."""
        meaning = {**self.model_dump(), "primary_horizon": self.primary}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]

    def cutoffs(self, first_event: datetime, known_until: datetime) -> list[datetime]:
        """The grid as of `known_until`, ascending: `known_until - primary`, and every `cutoff_every` days before.

        Every cutoff's primary horizon is fully observed (`cutoff + primary <= known_until`), and every cutoff lies at
        least `active_within` days after `first_event`, so that eligibility itself is fully observed.
        """
        step, cutoff, grid = timedelta(days=self.cutoff_every), known_until - timedelta(days=self.primary), []
        while cutoff >= first_event + timedelta(days=self.active_within):
            grid.append(cutoff)
            cutoff -= step
        return grid[::-1]
