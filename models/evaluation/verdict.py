"""The verdict: the one sentence that the numbers support, "no detectable difference" included."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from numpy.typing import ArrayLike

from models.base import Family
from models.evaluation.intervals import CustomerWeights, Interval, mean
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result

DecisionWord = Literal["recurrent", "conventional", "equivalent", "no detectable difference"]
RECURRENT_SIDE: tuple[Family, ...] = ("recurrent", "hybrid")
CONVENTIONAL_SIDE: tuple[Family, ...] = ("conventional",)


@dataclass(frozen=True)
class Verdict:
    """`difference`, with its 95 % limits, is the log loss of the best conventional model minus that of the best
    recurrent or hybrid one, in nats on the test examples: positive favours recurrent.
    """

    sentence: str
    best_recurrent: str | None
    best_conventional: str | None
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    margin: float
    decision: DecisionWord


def best_of(results: Iterable[Result], families: Sequence[Family]) -> Result | None:
    """The lowest validation log loss of these families; of equals, the first by name. The test is not used."""
    scored = [
        (result.valid_log_loss, result.name, result)
        for result in results
        if result.family in families and result.valid_log_loss is not None and math.isfinite(result.valid_log_loss)
    ]
    return min(scored, key=lambda entry: entry[:2])[2] if scored else None


def decide_by_rule(difference: Interval, margin: float) -> DecisionWord:
    """`recurrent` if the whole interval lies above 0, `conventional` if below; `equivalent` if neither and it lies
    within ± margin; else, and where there is no interval, `no detectable difference`.
    """
    if difference.low is None or difference.high is None:
        return "no detectable difference"
    if difference.low > 0:
        return "recurrent"
    if difference.high < 0:
        return "conventional"
    return "equivalent" if -margin <= difference.low and difference.high <= margin else "no detectable difference"


def verdict(results: Sequence[Result], labels: ArrayLike, weights: CustomerWeights, margin: float) -> Verdict:
    """The verdict on these results. `labels [examples]` are the test examples' churn; `margin` is in log loss."""
    recurrent, conventional = best_of(results, RECURRENT_SIDE), best_of(results, CONVENTIONAL_SIDE)
    difference = Interval(None, None, None)
    if recurrent and conventional:
        loss_conventional = example_log_loss(labels, conventional.test_probability)
        difference = mean(loss_conventional - example_log_loss(labels, recurrent.test_probability), weights)
    outcome = Verdict(
        sentence="",
        best_recurrent=recurrent.name if recurrent else None,
        best_conventional=conventional.name if conventional else None,
        metric="log_loss",
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        margin=margin,
        decision=decide_by_rule(difference, margin),
    )
    tested = f"{len(weights):,} test examples of {weights.customers:,} customers"
    return replace(outcome, sentence=_sentence(outcome, tested))


def _sentence(outcome: Verdict, tested: str) -> str:
    """The verdict in words."""
    recurrent, conventional, difference = outcome.best_recurrent, outcome.best_conventional, outcome.difference
    if recurrent is None or conventional is None:
        side = "recurrent or hybrid" if recurrent is None else "conventional"
        return f"No detectable difference: no {side} model has a validation log loss, so there is nothing to compare."
    if difference is None:
        return f"No detectable difference between {recurrent} and {conventional}: there are no test examples."
    figures = f"{abs(difference):.4f}"
    if outcome.low is None or outcome.high is None:
        return (
            f"No detectable difference between {recurrent} and {conventional}: log losses differ by {figures}, and "
            f"{tested} are too few for an interval."
        )
    limits = f"95 % interval {outcome.low:+.4f} to {outcome.high:+.4f}"
    if outcome.decision in ("recurrent", "conventional"):
        better, other = (recurrent, conventional) if outcome.decision == "recurrent" else (conventional, recurrent)
        return (
            f"{better} predicts churn better than {other}: its log loss is lower by {figures} on {tested} "
            f"({conventional} minus {recurrent}: {limits})."
        )
    signed = f"log loss of {conventional} minus that of {recurrent} is {difference:+.4f} on {tested} ({limits})"
    if outcome.decision == "equivalent":
        return f"{recurrent} and {conventional} are equivalent within {outcome.margin:g}: {signed}."
    return f"No detectable difference between {recurrent} and {conventional}: {signed}."
