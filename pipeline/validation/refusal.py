"""Why a night is refused, in one line: the night, the rule, the figures, the fix."""

from pipeline.runtime.nights import Night
from pipeline.validation.night_rules import NightRule
from pipeline.validation.profile import Profile
from pipeline.validation.rules import RowRule


def refusal(night: Night, broken: NightRule, profile: Profile, rules: list[RowRule]) -> str:
    """`rules` are the row rules whose reasons are not expected."""
    figures, reasons = profile.figures, profile.set_aside
    rows, value = int(figures["rows_read"]), figures[broken.figure]
    if broken.figure == "volume_share":
        fault = (
            f"{int(figures['events_accepted'])} events are {value:.1%} of the usual {figures['baseline_a_day']:.0f} a "
            f"day, expected from {broken.minimum:.0%} to {broken.maximum:.0%}"
        )
    elif broken.figure in {"quarantined_share", *(f"{rule.subject}_share" for rule in rules)}:
        most = max(rules, key=lambda rule: reasons.get(rule.code, 0))
        fault = (
            f"{int(figures['unexpected'])} of {rows} rows ({figures['quarantined_share']:.1%}) were set aside, at most "
            f"{broken.maximum:.1%} may be; most often ({reasons[most.code]} rows) {most.description} ({most.code})"
        )
    elif broken.figure.endswith(("_share", "_drift", "_rise")):
        fault = f"{broken.description}: {value:.1%}, {broken.limits('.1%')}"
    elif broken.figure.endswith("_days"):
        fault = f"{broken.description}: {value:.1f}, {broken.limits()}"
    else:
        fault = f"{broken.description}: {value:.0f} of {rows} rows"
    return f"the night {night.name} is refused and nothing of it was loaded: {fault}: {broken.fix}"
