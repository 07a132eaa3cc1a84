"""Why a night is refused, in one line: the night, the rule, the figures, the fix."""

from collections.abc import Mapping

from pipeline.runtime.nights import Night
from pipeline.validation.night_rules import NightRule
from pipeline.validation.rules import RowRule


def refusal(
    night: Night, broken: NightRule, profile: Mapping[str, float], set_aside: Mapping[str, int], rules: list[RowRule]
) -> str:
    """`set_aside` counts rows by reason; `rules` are the row rules whose reasons are not expected."""
    rows, value = int(profile["rows_read"]), profile[broken.figure]
    if broken.figure == "volume_share":
        fault = (
            f"{int(profile['events_accepted'])} events are {value:.1%} of the usual {profile['baseline_a_day']:.0f} a "
            f"day, expected from {broken.minimum:.0%} to {broken.maximum:.0%}"
        )
    elif broken.figure in {"quarantined_share", *(f"{rule.subject}_share" for rule in rules)}:
        most = max(rules, key=lambda rule: set_aside.get(rule.code, 0))
        fault = (
            f"{int(profile['unexpected'])} of {rows} rows ({profile['quarantined_share']:.1%}) were set aside, at most "
            f"{broken.maximum:.1%} may be; most often ({set_aside[most.code]} rows) {most.description} ({most.code})"
        )
    elif broken.figure.endswith(("_share", "_drift", "_rise")):
        fault = f"{broken.description}: {value:.1%}, {broken.limits('.1%')}"
    elif broken.figure.endswith("_days"):
        fault = f"{broken.description}: {value:.1f}, {broken.limits()}"
    else:
        fault = f"{broken.description}: {value:.0f} of {rows} rows"
    return f"the night {night.name} is refused and nothing of it was loaded: {fault}: {broken.fix}"
