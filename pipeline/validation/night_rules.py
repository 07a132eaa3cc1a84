"""The night rules: when a night as a whole is refused. They bear on its profile, one row of figures about the night
that holds nothing of any customer; each becomes an expectation, with the figure and its limits in the Data Docs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.settings import Validation
from pipeline.validation.rules import ATTRIBUTES, RowRule

ROWS_ALWAYS_ALLOWED = 2
"""So many rows may always be set aside: in a night of ten rows, one bad row says nothing about the source."""

USUAL_FROM = 20
"""The volume is judged only where a usual day has at least this many events: below, chance alone moves it so much."""


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
        limits = [("at least", self.minimum), ("at most", self.maximum)]
        return f"{self.words}: {', '.join(f'{end} {limit:g}' for end, limit in limits if limit is not None)}"


def night_rules(
    profile: Mapping[str, float], rules: list[RowRule], limits: Validation, is_history: bool
) -> list[NightRule]:
    """The rules for a night with this profile, the most telling first.

    A night without any row passes: it is a day on which nothing happened, since the source holds events after it.
    """
    allowed = max(limits.max_quarantined_share, ROWS_ALWAYS_ALLOWED / max(profile["rows_read"], 1))
    aside = "mend the source (recur quarantine list shows the rows), or raise validation.max_quarantined_share"
    faults: dict[str, list[str]] = {}
    for rule in rules:
        faults.setdefault(rule.subject, []).append(rule.words)
    if ATTRIBUTES in faults:
        faults[ATTRIBUTES] = ["a numeric attribute is no number, not finite or absurd"]
    report = "this is a fault of recur itself: please report it"
    found = [
        NightRule("quarantined_share", "share of rows set aside", aside, maximum=allowed),
        *(
            NightRule(f"{subject}_share", f"share of rows where {', or '.join(words)}", aside, maximum=allowed)
            for subject, words in faults.items()
        ),
        NightRule("without_customer", "accepted events without a customer", report, maximum=0),
        NightRule("outside_time", "accepted events outside [1970-02-01, the night's end)", report, maximum=0),
        NightRule("unusable_numbers", "accepted events with an amount or quantity not finite", report, maximum=0),
        NightRule("known_too_late", "accepted events known after the night's end", report, maximum=0),
    ]
    if is_history:
        first = "choose a later run.first_night, or mend the source"
        found.append(NightRule("rows_accepted", "accepted events in the history", first, minimum=1))
    if profile["usual_a_day"] >= USUAL_FROM and profile["rows_read"]:
        found.append(
            NightRule(
                "volume_share",
                "events a day, as a share of the usual day's",
                "make sure that the source is complete, or widen validation.min_volume_share and max_volume_share",
                minimum=limits.min_volume_share,
                maximum=limits.max_volume_share,
            )
        )
    return found
