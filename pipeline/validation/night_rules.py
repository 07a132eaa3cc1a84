"""The night rules: when a night as a whole is refused. They bear on its profile, one row of figures about the night
that holds nothing of any customer; each becomes an expectation, with the figure and its limits in the Data Docs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.config.sections import Validation
from pipeline.validation.rules import ATTRIBUTES, RowRule

ROWS_ALWAYS_ALLOWED = 2
"""So many rows may always be set aside: in a night of ten rows, one bad row says nothing about the source."""

USUAL_FROM = 20
"""A night is held against the weeks before it only where a usual day has at least this many events: below, chance alone
moves it so much.
"""

_REPORT = "this is a fault of recur itself: please report it"
_ASIDE = "mend the source (recur quarantine list shows the rows), or raise validation.max_quarantined_share"


@dataclass(frozen=True)
class NightRule:
    """`profile[figure]` must lie in `[minimum, maximum]`; None is no limit."""

    figure: str
    words: str
    mend: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def in_words(self) -> str:
        return f"{self.words}: {self.limits()}"

    def limits(self, form: str = "g") -> str:
        limits = [("at least", self.minimum), ("at most", self.maximum)]
        return ", ".join(f"{end} {limit:{form}}" for end, limit in limits if limit is not None)


def night_rules(
    profile: Mapping[str, float], rules: list[RowRule], limits: Validation, is_history: bool
) -> list[NightRule]:
    """The rules for a night with this profile, the most telling first.

    A night without any row passes: it is a day on which nothing happened, since the source holds events after it; many
    such days in a row do not.
    """
    found = [*_rules_of_rows(profile, rules, limits), *_promises()]
    if is_history:
        first = "choose a later run.first_night, or mend the source"
        found.append(NightRule("rows_accepted", "accepted events in the history", first, minimum=1))
    if profile["usual_a_day"] >= USUAL_FROM:
        found += _rules_of_time(profile, limits)
    return found


def _rules_of_rows(profile: Mapping[str, float], rules: list[RowRule], limits: Validation) -> Iterator[NightRule]:
    """How many rows may be set aside, in all and by what the row rules are about, and how many may repeat another."""
    few = ROWS_ALWAYS_ALLOWED / max(profile["rows_read"], 1)
    allowed = max(limits.max_quarantined_share, few)
    faults: dict[str, list[str]] = {}
    for rule in rules:
        faults.setdefault(rule.subject, []).append(rule.words)
    if ATTRIBUTES in faults:
        faults[ATTRIBUTES] = ["a numeric attribute is no number, not finite or absurd"]
    yield NightRule("quarantined_share", "share of rows set aside", _ASIDE, maximum=allowed)
    for subject, words in faults.items():
        yield NightRule(f"{subject}_share", f"share of rows where {', or '.join(words)}", _ASIDE, maximum=allowed)
    yield NightRule(
        "future_share",
        "share of rows whose event time lies after the night's end",
        "check the source's clock and source.timezone, or raise validation.max_future_share",
        maximum=max(limits.max_future_share, few),
    )
    yield NightRule(
        "repeated_share",
        "share of rows that say what another row says",
        "make sure that the source is not delivered twice, or raise validation.max_repeated_share",
        maximum=max(limits.max_repeated_share, few),
    )


def _promises() -> Iterator[NightRule]:
    """What the row rules see to, read back from the accepted events."""
    yield NightRule("without_customer", "accepted events without a customer", _REPORT, maximum=0)
    yield NightRule("outside_time", "accepted events outside [1970-02-01, the night's end)", _REPORT, maximum=0)
    yield NightRule("unusable_numbers", "accepted events with an amount or quantity not finite", _REPORT, maximum=0)
    yield NightRule("known_too_late", "accepted events known after the night's end", _REPORT, maximum=0)


def _rules_of_time(profile: Mapping[str, float], limits: Validation) -> Iterator[NightRule]:
    """How far the night may lie from the weeks before it."""
    yield NightRule(
        "silent_days",
        "days up to the night's end without an event",
        "make sure that the source still delivers, or raise validation.max_silent_days",
        maximum=limits.max_silent_days,
    )
    if profile["rows_read"]:
        yield NightRule(
            "volume_share",
            "events a day, as a share of the usual day's",
            "make sure that the source is complete, or widen validation.min_volume_share and max_volume_share",
            minimum=limits.min_volume_share,
            maximum=limits.max_volume_share,
        )
    if profile["events_accepted"] >= USUAL_FROM:
        yield NightRule(
            "mix_drift",
            "distance between the mix of event types and that of the last weeks",
            "make sure that every type is delivered, or raise validation.max_mix_drift",
            maximum=limits.max_mix_drift + profile["mix_noise"],
        )
        for figure in profile:
            if figure.endswith("_absent_rise"):
                yield NightRule(
                    figure,
                    f"rise in the share of events without {figure.removesuffix('_absent_rise')}",
                    "make sure that the source still fills it, or raise validation.max_absent_rise",
                    maximum=limits.max_absent_rise,
                )
