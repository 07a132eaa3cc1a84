"""When a champion is to be retrained, or people alerted: a rule on reviews and drift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.evaluation.intervals import Interval

Action = Literal["retrain", "alert", "fine"]


@dataclass(frozen=True)
class Limits:
    """`max_drift` is a stability index; `tolerance` is in log loss, and in share of customers."""

    max_drift: float
    tolerance: float


@dataclass(frozen=True)
class RetrainingDecision:
    """What to do, and why, in a sentence."""

    decision: Action
    why: str


def decide(
    realised: Mapping[str, Interval],
    reference: Mapping[str, Interval],
    expected_log_loss: float | None,
    drift: Mapping[str, float],
    limits: Limits,
) -> RetrainingDecision:
    """Retrain where the champion's latest reviewed scores were worse than its test reference beyond chance: the lower
    end of their log loss above the upper end of its log loss on the test by more than `tolerance`, or the upper end of
    their ROC AUC below a half. Alert where they are not calibrated (the mean prediction lies outside the interval of
    the share that churned by more than `tolerance`), where the expected log loss lies above the reference interval by
    more than `tolerance`, or where an input or the scores have drifted by more than `max_drift`.

    `realised` and `reference` map metrics to intervals, empty where there are none; `drift` maps inputs and scores to
    their stability index.
    """
    loss, bound = realised.get("log_loss"), reference.get("log_loss")
    tolerance, max_drift = limits.tolerance, limits.max_drift
    auc, churned, predicted = (realised.get(name) for name in ("roc_auc", "base_rate", "mean_predicted"))
    limit = None if bound is None or bound.high is None else bound.high + tolerance
    if loss is not None and loss.low is not None and limit is not None and loss.low > limit:
        why = f"the log loss of past scores, {loss.value:.3f}, is above the {limit:.3f} promised"
        return RetrainingDecision("retrain", why)
    if auc is not None and auc.high is not None and auc.high < 0.5:
        return RetrainingDecision("retrain", f"past scores ranked customers worse than chance: ROC AUC {auc.value:.3f}")
    alerts = []
    if churned is not None and predicted is not None and churned.low is not None and churned.high is not None:
        mean = predicted.value or 0.0
        if mean < churned.low - tolerance or mean > churned.high + tolerance:
            alerts.append(f"{mean:.1%} were predicted to churn and {churned.value:.1%} did")
    if expected_log_loss is not None and limit is not None and expected_log_loss > limit:
        alerts.append(f"tonight's scores expect a log loss of {expected_log_loss:.3f}, above the {limit:.3f} promised")
    moved = sorted(((value, name) for name, value in drift.items() if value > max_drift), reverse=True)
    if moved:
        names = ", ".join(f"{name.replace('_', ' ')} ({value:.2f})" for value, name in moved[:3])
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        alerts.append(f"what customers do has moved since training: {names}{more}, where {max_drift:.2f} is much")
    if alerts:
        return RetrainingDecision("alert", "; ".join(alerts))
    return RetrainingDecision("fine", "nothing is out of the ordinary")
