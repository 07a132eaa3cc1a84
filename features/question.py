"""The question: who is asked about, when, and what. One object; its digest is in every run and every prediction row."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from features.spec import FeatureSpec

Days = Annotated[int, Field(gt=0, le=3650, strict=True)]
Names = tuple[Annotated[str, Field(min_length=1)], ...]
DAY = timedelta(days=1)
OWN_COLUMNS = ("customer_id", "event_type")  # of an event, whose values can be excluded


class Question(BaseModel):
    """Who: customers with activity in `[cutoff - active_within, cutoff)` who have not ended since. When: every
    `cutoff_every` days. What: over each horizon, `[cutoff + gap, cutoff + gap + H days)`, whether they churn (they do
    not come back, or an event ends them, where `ends_with` names such), how often they purchase and how much they
    spend. A horizon that is not fully observed has no label. All lengths are days; all cutoffs are midnights in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    active_within: Days = 91
    """Only customers with activity in this many days before the cutoff are asked about."""
    activity: Names = ()
    """The event types that are activity and make a customer eligible. By default all but those of `ends_with`."""
    comes_back_with: Names = ()
    """The event types of which one in the horizon is no churn; with an amount it is a purchase. By default those that
    are activity.
    """
    ends_with: Names = ()
    """The event types that end a customer, as a subscription's cancellation: churn is one of them in the horizon,
    instead of no activity. Who ended is not asked about until active again.
    """
    horizons: tuple[Days, ...] = (28,)
    """The lengths of the future that is asked about, in days."""
    primary_horizon: Days | None = None
    """The horizon that models are compared on; by default the first of `horizons`."""
    gap: Annotated[int, Field(ge=0, le=3650, strict=True)] = 0
    """The days between the cutoff and the beginning of every horizon: the time that acting on a score takes."""
    cutoff_every: Days = 7
    """The days between the cutoffs that models learn from."""
    next_event: bool = False
    """Whether examples are also labelled with the next event that is no churn, within the longest horizon: the days
    from the horizon's beginning to it, and its type; null where none is known of.
    """
    treatments: Names = ("campaign",)
    """The event types that are treatments, as a campaign mailed: done to the customer and not by them. So they make
    nobody eligible and are no coming back, in labels and in reviews alike; a review shows those who received one apart.
    What is named as activity, as coming back or as an end is no treatment. In the bundled data a campaign reaches its
    households on the day it begins.
    """
    event_types: Names = ()
    """Event types with features of their own: the time since the last one, and how many there were. By default the most
    frequent ones of the history that is loaded first, eight at the most, where it has several: networks read the type
    of every event. Those of `activity`, `comes_back_with` and `ends_with` always have them.
    """
    calendar: bool | None = None
    """Whether models read the calendar: the weekday, and the time of year where training spans one, of the cutoff and
    of events. Absent, the calendar is among the features, and whether models of both kinds read it is chosen for all of
    them at once, on validation. Where the history holds fewer than three of each season, models take the month for the
    trend of the time, and err.
    """
    categories: bool | None = None
    """Whether models read which value of every categorical attribute an event has, and of aggregates since when and how
    often a customer had the frequent ones. Absent, it is chosen for models of both kinds at once, on validation.
    """
    exclude_customers: Names = ()
    """Customers who are left out, as test accounts, by their `customer_id`."""
    exclude_types: Names = ()
    """Event types that are left out, as if they had never happened."""
    exclude_values: Mapping[str, Names] = {}
    """Values of attributes whose events are left out, as `{country = ["Unspecified"]}`."""

    @field_validator(
        *("activity", "comes_back_with", "ends_with", "treatments", "event_types", "exclude_customers", "exclude_types")
    )
    @classmethod
    def _in_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(names)))  # the order in which they are named says nothing

    @field_validator("exclude_values")
    @classmethod
    def _all_in_order(cls, values: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {name: tuple(sorted(set(values[name]))) for name in sorted(values)}

    @model_validator(mode="after")
    def _can_be_asked(self) -> "Question":
        if not self.horizons:
            raise ValueError("horizons must name at least one length in days, for example horizons = [28]")
        if len(set(self.horizons)) != len(self.horizons):
            raise ValueError(f"horizons {list(self.horizons)} names a length twice")
        if self.primary not in self.horizons:
            raise ValueError(f"primary_horizon {self.primary_horizon} is not one of horizons {list(self.horizons)}")
        if both := {*self.activity, *self.comes_back_with} & set(self.ends_with):
            raise ValueError(f"{min(both)!r} cannot be activity and end a customer: name it in one of the two")
        if gone := set(self.exclude_types) & set(self.types):
            raise ValueError(f"{min(gone)!r} is in exclude_types and asked about: name it in one of the two")
        return self

    @property
    def primary(self) -> int:
        """The primary horizon, in days."""
        return self.primary_horizon or self.horizons[0]

    @property
    def primary_index(self) -> int:
        """The position of the primary horizon in `horizons`."""
        return self.horizons.index(self.primary)

    @property
    def reach(self) -> int:
        """The days from a cutoff until its primary horizon has closed: the gap and the horizon."""
        return self.gap + self.primary

    @property
    def longest_reach(self) -> int:
        """The days from a cutoff until its longest horizon has closed."""
        return self.gap + max(self.horizons)

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that it names and that have features of their own, in order."""
        return tuple(sorted({*self.activity, *self.comes_back_with, *self.ends_with, *self.event_types}))

    def spec(self, attributes: Mapping[str, str], frequent: Mapping[str, Sequence[str]] | None = None) -> FeatureSpec:
        """What the functions over events must know, where attributes map to `numeric` or `categorical`. The `frequent`
        values of a text column are told apart, where there are several; of event types, unless the question says which.

        Raises ValueError where the question excludes values of something that is no attribute.
        """
        excluded = {"customer_id": self.exclude_customers, "event_type": self.exclude_types, **self.exclude_values}
        for name in self.exclude_values:
            if name not in {*OWN_COLUMNS, *attributes}:
                raise ValueError(f"question.exclude_values names {name!r}, which is no attribute of the events")
        roles = {*self.activity, *self.comes_back_with, *self.ends_with}
        categorical = tuple(name for name, kind in attributes.items() if kind == "categorical")
        found = {
            name: set((frequent or {}).get(name, ())) - set(excluded.get(name, ()))
            for name in ("event_type", *categorical)
        }
        told_apart = {name: values if len(values) > 1 else set() for name, values in found.items()}
        told_apart["event_type"] = set(self.types) | (set() if self.event_types else told_apart["event_type"])
        return FeatureSpec(
            active_within=self.active_within,
            horizons=self.horizons,
            gap=self.gap,
            activity=self.activity,
            comes_back_with=self.comes_back_with,
            ends_with=self.ends_with,
            treatments=tuple(name for name in self.treatments if name not in roles),
            told_apart={name: tuple(sorted(values)) for name, values in told_apart.items() if values},
            excluded={name: values for name, values in excluded.items() if values},
            primary_index=self.primary_index,
            next_event=self.next_event,
            calendar=self.calendar is not False,
            numeric=tuple(name for name, kind in attributes.items() if kind == "numeric"),
            categorical=categorical,
        )

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the question's canonical JSON, without what is not used."""
        meaning = {**self.model_dump(mode="json"), "primary_horizon": self.primary}
        used = {key: value for key, value in meaning.items() if value}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]

    def cutoffs(self, first_event: datetime, known_until: datetime) -> list[datetime]:
        """The grid as of `known_until`, ascending: `known_until - reach`, and every `cutoff_every` days before.

        Every cutoff's primary horizon is fully observed (`cutoff + reach <= known_until`), and every cutoff lies at
        least `active_within` days after `first_event`, so that eligibility itself is fully observed.
        """
        step, cutoff, grid = self.cutoff_every * DAY, known_until - self.reach * DAY, []
        while cutoff >= first_event + self.active_within * DAY:
            grid.append(cutoff)
            cutoff -= step
        return grid[::-1]

    def askable_from(self, first_event: datetime) -> datetime:
        """The first midnight as of which the grid has a training, a validation and a test cutoff, each of the first two
        closed by the next: its longest horizon too for the first, its primary one for the second.
        """
        step = self.cutoff_every * DAY
        purges = sum(-(-days * DAY // step) for days in (self.longest_reach, self.reach)) * step
        earliest = first_event + (self.active_within + self.reach) * DAY + purges
        midnight = earliest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if midnight == earliest else midnight + DAY
