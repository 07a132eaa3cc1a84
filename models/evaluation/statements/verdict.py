"""The verdict: the one sentence that the numbers support, "no detectable difference" included."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result
from models.evaluation.statements.differences import Difference, differences, only_outcome
from models.evaluation.statements.sides import CONVENTIONAL_SIDE, RECURRENT_SIDE, best_of, contenders
from models.evaluation.statements.wording import caveats, limits, tested

DecisionWord = Literal["recurrent", "conventional", "equivalent", "no detectable difference"]
METRIC = "log_loss"


@dataclass(frozen=True)
class Confrontation:
    """The best of one side, chosen before the test, against every contender of the other. Each difference is the log
    loss of the conventional model minus that of the recurrent one, in nats: positive favours recurrence. `hardest` is
    the opponent against whom the figures speak least for the best: the lowest lower limit where the best is recurrent,
    the highest upper one where it is conventional.

    A lower limit above 0 against the hardest is one against each: that all tests pass is an error as rare as that the
    one of them that ought not to does (an intersection-union test; Berger 1982), so no correction is due.
    """

    best_recurrent: str | None
    best_conventional: str | None
    hardest: Difference
    opponents: dict[str, Difference]


@dataclass(frozen=True)
class Verdict:
    """`against` has the recurrent side's best; `mirror` the conventional side's. `margin` is in log loss."""

    sentence: str
    against: Confrontation
    mirror: Confrontation
    margin: float
    decision: DecisionWord

    @property
    def best_recurrent(self) -> str | None:
        return self.against.best_recurrent

    @property
    def best_conventional(self) -> str | None:
        return self.against.best_conventional

    @property
    def difference(self) -> float | None:
        return self.against.hardest.difference

    @property
    def low(self) -> float | None:
        return self.against.hardest.low

    @property
    def high(self) -> float | None:
        return self.against.hardest.high

    @property
    def windows(self) -> tuple[float | None, ...]:
        return self.against.hardest.windows

    def to_json(self) -> dict[str, Any]:
        best, mirror = (_confrontation_json(each) for each in (self.against, self.mirror))
        names = {name: best.pop(name) for name in ("best_recurrent", "best_conventional")}
        beside = {"mirror": mirror, "margin": self.margin, "decision": self.decision}
        return {"sentence": self.sentence, **names, "metric": METRIC, **best, **beside}


def decide_by_rule(hardest: Difference, mirror: Difference, margin: float) -> DecisionWord:
    """`recurrent` if the lower limit against the hardest opponent, and so against each, is above 0; `conventional` if
    the mirror's upper limit is below 0; `equivalent` if neither and the interval lies within ± margin; else, and where
    there is no interval, `no detectable difference`.
    """
    if hardest.low is not None and hardest.low > 0:
        return "recurrent"
    if mirror.high is not None and mirror.high < 0:
        return "conventional"
    if hardest.low is None or hardest.high is None:
        return "no detectable difference"
    return "equivalent" if -margin <= hardest.low and hardest.high <= margin else "no detectable difference"


def verdict(results: Sequence[Result], labels: ArrayLike, weights: CustomerWeights, margin: float) -> Verdict:
    """The verdict on these results. `labels [rows]` are the test's churn; `margin` is in log loss."""
    losses = {result.name: example_log_loss(labels, result.test_probability) for result in results}
    sides = [contenders(results, side) for side in (RECURRENT_SIDE, CONVENTIONAL_SIDE)]
    recurrent, conventional = (best_of(results, side) for side in (RECURRENT_SIDE, CONVENTIONAL_SIDE))
    pairs = [(recurrent, opponent) for opponent in sides[1]] if recurrent else []
    mirrored = [(opponent, conventional) for opponent in sides[0]] if conventional else []
    every = differences([(losses[two.name], losses[one.name]) for one, two in (*pairs, *mirrored)], weights)
    if alike := only_outcome(labels):
        every = [Difference()] * len(every)
    faced = {two.name: each for (_, two), each in zip(pairs, every[: len(pairs)], strict=True)}
    returned = {one.name: each for (one, _), each in zip(mirrored, every[len(pairs) :], strict=True)}
    hardest = min(faced, key=lambda name: (_or_value(faced[name].low, faced[name]), name), default=None)
    easiest = min(returned, key=lambda name: (-_or_value(returned[name].high, returned[name]), name), default=None)
    against = Confrontation(
        recurrent.name if recurrent else None,
        hardest or (conventional.name if conventional else None),
        faced[hardest] if hardest else Difference(),
        faced,
    )
    mirror = Confrontation(
        easiest or (recurrent.name if recurrent else None),
        conventional.name if conventional else None,
        returned[easiest] if easiest else Difference(),
        returned,
    )
    outcome = Verdict("", against, mirror, margin, decide_by_rule(against.hardest, mirror.hardest, margin))
    return replace(outcome, sentence=_sentence(outcome, weights, alike))


def _or_value(limit: float | None, difference: Difference) -> float:
    """The limit, or the difference where there is none: all of a comparison have limits or none has."""
    return limit if limit is not None else difference.difference or 0.0


def _confrontation_json(confrontation: Confrontation) -> dict[str, Any]:
    opponents = [{"name": name, **asdict(difference)} for name, difference in confrontation.opponents.items()]
    names = {"best_recurrent": confrontation.best_recurrent, "best_conventional": confrontation.best_conventional}
    return {**names, **asdict(confrontation.hardest), "opponents": opponents}


def _sentence(outcome: Verdict, weights: CustomerWeights, alike: str | None) -> str:
    """The verdict in words; `alike` says that all test examples have one outcome."""
    recurrent, conventional, hardest = outcome.best_recurrent, outcome.best_conventional, outcome.against.hardest
    if recurrent is None or conventional is None or not outcome.against.opponents:
        side = "recurrent or hybrid" if recurrent is None else "conventional"
        return f"No detectable difference: no {side} model has a validation log loss, so there is nothing to compare."
    if alike:
        return (
            f"No detectable difference between {recurrent} and {conventional}: {alike}, so there is nothing to compare."
        )
    if hardest.difference is None:
        return f"No detectable difference between {recurrent} and {conventional}: there are no test examples."
    if hardest.low is None:
        return (
            f"No detectable difference between {recurrent} and {conventional}: log losses differ by "
            f"{abs(hardest.difference):.4f}, and {tested(weights)} are too few for an interval."
        )
    if outcome.decision == "recurrent":
        return _clear_for_recurrence(outcome, weights)
    if outcome.decision == "conventional":
        return _clear_for_convention(outcome, weights)
    figures = f"{hardest.difference:+.4f} on {tested(weights)} ({limits(hardest)})"
    signed = f"log loss of {conventional} minus that of {recurrent} is {figures}"
    beside = caveats(hardest, recurrent, weights)
    if outcome.decision == "equivalent":
        return f"{recurrent} and {conventional} are equivalent within {outcome.margin:g}: {signed}.{beside}"
    behind = _behind_alone(outcome)
    return f"No detectable difference between {recurrent} and {conventional}: {signed}.{behind}{beside}"


def _behind_alone(outcome: Verdict) -> str:
    """Why it is no verdict that the best of the recurrent side is clearly behind its hardest opponent; empty where it
    is not.
    """
    hardest, mirror = outcome.against.hardest, outcome.mirror
    if hardest.high is None or hardest.high >= 0 or mirror.best_recurrent is None:
        return ""
    return (
        f" {outcome.best_recurrent} is behind, but its side is not: {mirror.best_conventional} is not clearly ahead of "
        f"{mirror.best_recurrent} ({mirror.hardest.difference:+.4f}, {limits(mirror.hardest)})."
    )


def _clear_for_recurrence(outcome: Verdict, weights: CustomerWeights) -> str:
    recurrent, conventional, hardest = outcome.best_recurrent, outcome.best_conventional, outcome.against.hardest
    assert recurrent is not None
    assert hardest.difference is not None
    count = len(outcome.against.opponents)
    whom = f"{conventional}, the hardest of {count} models without a memory" if count > 1 else f"{conventional}"
    return (
        f"{recurrent} predicts churn better than {whom}: its log loss is lower by {hardest.difference:.4f} on "
        f"{tested(weights)} ({conventional} minus {recurrent}: {limits(hardest)})."
        f"{caveats(hardest, recurrent, weights)}"
    )


def _clear_for_convention(outcome: Verdict, weights: CustomerWeights) -> str:
    mirror = outcome.mirror
    recurrent, conventional, hardest = mirror.best_recurrent, mirror.best_conventional, mirror.hardest
    assert recurrent is not None
    assert hardest.difference is not None
    count = len(mirror.opponents)
    whom = f"{recurrent}, the hardest of {count} models with a memory" if count > 1 else f"{recurrent}"
    return (
        f"{conventional} predicts churn better than {whom}: its log loss is lower by {-hardest.difference:.4f} on "
        f"{tested(weights)} ({conventional} minus {recurrent}: {limits(hardest)})."
        f"{caveats(hardest, recurrent, weights)}"
    )
