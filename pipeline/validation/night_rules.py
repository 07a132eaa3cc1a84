"""The night rules: when a night as a whole is refused. They limit the figures of its profile, which name no customer;
each becomes an expectation, with the figure and its limits in the Data Docs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.config.sections import Validation
from pipeline.runtime.nights import DAY, Night
from pipeline.validation.chance import fewest, most, share_noise, silence
from pipeline.validation.rules import ATTRIBUTES, RowRule

ROWS_ALWAYS_ALLOWED = 2
"""How many rows may always be set aside: in a night of ten rows, one bad row says nothing about the source."""

ABOVE_EARLIER = 2.0
"""A silence as long as an earlier one times this, and a day as busy as the busiest before times this, is the source's
own way: a shop that closes each summer, a season that comes again.
"""

FIX_OF_A_BROKEN_PROMISE = "this is a fault of recur itself: please report it"
FIX_OF_SET_ASIDE_ROWS = (
    "fix the source (recur quarantine list shows the rows), or raise validation.max_quarantined_share"
)


@dataclass(frozen=True)
class NightRule:
    """`profile[figure]` must lie in `[minimum, maximum]`; None is no limit."""

    figure: str
    description: str
    fix: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def with_limits(self) -> str:
        return f"{self.description}: {self.limits()}"

    def limits(self, form: str = "g") -> str:
        limits = [("at least", self.minimum), ("at most", self.maximum)]
        return ", ".join(f"{end} {limit:{form}}" for end, limit in limits if limit is not None)


def night_rules(
    figures: Mapping[str, float], rules: list[RowRule], limits: Validation, is_history: bool
) -> list[NightRule]:
    """The rules for a night with these figures of its profile, the most telling first.

    A night without any row passes: it is a day on which nothing happened, since the source holds events after it; many
    such days in a row do not.
    """
    night = [*_rules_of_rows(figures, rules, limits), *_promises()]
    if is_history:
        fix = "choose a later run.first_night, or fix the source"
        night.append(NightRule("rows_accepted", "accepted events in the history", fix, minimum=1))
    if figures["baseline_a_day"]:
        night += _rules_of_baseline(figures, limits)
    return night


def _rules_of_rows(figures: Mapping[str, float], rules: list[RowRule], limits: Validation) -> Iterator[NightRule]:
    """How many rows may be set aside, in all and by what the row rules are about, and how many may repeat another."""
    few = ROWS_ALWAYS_ALLOWED / max(figures["rows_read"], 1)
    allowed = max(limits.max_quarantined_share, few)
    faults: dict[str, list[str]] = {}
    for rule in rules:
        faults.setdefault(rule.subject, []).append(rule.description)
    if ATTRIBUTES in faults:
        faults[ATTRIBUTES] = ["a numeric attribute is no number, not finite or absurd"]
    yield NightRule("quarantined_share", "share of rows set aside", FIX_OF_SET_ASIDE_ROWS, maximum=allowed)
    for subject, descriptions in faults.items():
        description = f"share of rows where {', or '.join(descriptions)}"
        yield NightRule(f"{subject}_share", description, FIX_OF_SET_ASIDE_ROWS, maximum=allowed)
    yield NightRule(
        "future_share",
        "share of rows whose event time lies after the night's end",
        "check the source's clock and source.timezone, or raise validation.max_future_share",
        maximum=max(limits.max_future_share, few),
    )
    yield NightRule(
        "repeated_share",
        "share of rows that repeat another row",
        "make sure that the source is not delivered twice, or raise validation.max_repeated_share",
        maximum=max(limits.max_repeated_share, few),
    )


def _promises() -> Iterator[NightRule]:
    """What the row rules ensure, read back from the accepted events."""
    fix = FIX_OF_A_BROKEN_PROMISE
    yield NightRule("without_customer", "accepted events without a customer", fix, maximum=0)
    yield NightRule("outside_time", "accepted events outside [1970-02-01, the night's end)", fix, maximum=0)
    yield NightRule("unusable_numbers", "accepted events with an amount or quantity not finite", fix, maximum=0)
    yield NightRule("known_too_late", "accepted events known after the night's end", fix, maximum=0)


def _rules_of_baseline(figures: Mapping[str, float], limits: Validation) -> Iterator[NightRule]:
    """How far the night may lie from its baseline, beyond what chance makes of so few events."""
    yield NightRule(
        "silent_days",
        "days up to the night's end without an event",
        "make sure that the source still delivers; if it was closed, raise validation.max_silent_days and run again",
        maximum=max(
            limits.max_silent_days,
            silence(figures["baseline_a_day"]),
            ABOVE_EARLIER * figures["longest_silence"],
        ),
    )
    if figures["rows_read"] and figures["usual"]:
        low, high = figures["usual_low"], figures["usual_high"]
        least = min(limits.min_volume_share * low, fewest(low))
        largest = max(limits.max_volume_share * high, most(high), ABOVE_EARLIER * figures["busiest_day"])
        largest += figures["late"]  # corrections of earlier days say nothing about the night's own
        yield NightRule(
            "volume_share",
            "events, as a share of what the last weeks' same weekdays had",
            "make sure that the source is complete and delivers nothing twice; if the day was like that, widen "
            "validation.min_volume_share and validation.max_volume_share and run again",
            minimum=least / figures["usual"],
            maximum=largest / figures["usual"],
        )
    if figures["events_accepted"]:
        noise = share_noise(figures["events_accepted"])
        yield NightRule(
            "mix_drift",
            "distance between the mix of event types and that of the last weeks",
            "make sure that every type is delivered, or raise validation.max_mix_drift",
            maximum=max(limits.max_mix_drift, noise) + figures["mix_noise"],
        )
        for figure in figures:
            if figure.endswith("_absent_rise"):
                yield NightRule(
                    figure,
                    f"rise in the share of events without {figure.removesuffix('_absent_rise')}",
                    "make sure that the source still fills it, or raise validation.max_absent_rise",
                    maximum=max(limits.max_absent_rise, noise),
                )


@dataclass(frozen=True)
class SetAside:
    """Of the rows set aside: how many by reason, and a line in words about one of a reason."""

    counts: Mapping[str, int]
    example: Callable[[RowRule], str]


def refusal(
    night: Night, broken: NightRule, profile: Mapping[str, float], set_aside: SetAside, rules: list[RowRule]
) -> str:
    """Why `night` is refused, in one line: the rule, the figures, an example, the fix. `rules` are the row rules whose
    reasons are not expected.
    """
    rows, value = int(profile["rows_read"]), profile[broken.figure]
    if broken.figure == "volume_share":
        of = f"of a {night.start:%A}" if night.start and night.end - night.start <= DAY else "of such days"
        fault = (
            f"{int(profile['events_accepted'])} events are {value:.1%} of the usual {profile['usual']:.0f} {of}, "
            f"expected from {broken.minimum:.0%} to {broken.maximum:.0%}"
        )
    elif broken.figure in {"quarantined_share", *(f"{rule.subject}_share" for rule in rules)}:
        often = max(rules, key=lambda rule: set_aside.counts.get(rule.code, 0))
        fault = (
            f"{int(profile['unexpected'])} of {rows} rows ({profile['quarantined_share']:.1%}) were set aside, at most "
            f"{broken.maximum:.1%} may be; most often ({set_aside.counts[often.code]} rows) {often.description} "
            f"({often.code}), as in {set_aside.example(often)}"
        )
    elif broken.figure.endswith(("_share", "_drift", "_rise")):
        fault = f"{broken.description}: {value:.1%}, {broken.limits('.1%')}"
    elif broken.figure.endswith("_days"):
        fault = f"{broken.description}: {value:.1f}, {broken.limits()}"
    else:
        fault = f"{broken.description}: {value:.0f} of {rows} rows"
    return f"the night {night.name} is refused and nothing of it was loaded: {fault}: {broken.fix}"
