"""The rule that says from reviews and drift what is to be done about a champion: retrain, alert, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.evaluation.intervals import Interval

Decision = Literal["retrain", "alert", "fine"]


@dataclass(frozen=True)
class Upkeep:
    """What is to be done, and why, in a sentence."""

    decision: Decision
    why: str


def decide(
    realised: Mapping[str, Interval],
    promised: Mapping[str, Interval],
    expected_log_loss: float | None,
    drift: Mapping[str, float],
    max_drift: float,
    tolerance: float,
) -> Upkeep:
    """Retrain where the champion's latest reviewed scores were worse than promised beyond chance: the lower end of
    their log loss above the upper end of its log loss on the test by more than `tolerance`, or the upper end of their
    ROC AUC below a half. Alert where they are not calibrated (the interval of the share that churned leaves what was
    predicted by more than `tolerance`), where the expected log loss lies above the promised interval by more than
    `tolerance`, or where an input or the scores have drifted by more than `max_drift`.

    `realised` and `promised` map metrics to intervals, empty where there are none; `drift` maps what is watched to its
    stability index.
    """
    loss, bound = realised.get("log_loss"), promised.get("log_loss")
    auc, churned, predicted = (realised.get(name) for name in ("roc_auc", "base_rate", "mean_predicted"))
    limit = None if bound is None or bound.high is None else bound.high + tolerance
    if loss is not None and loss.low is not None and limit is not None and loss.low > limit:
        return Upkeep("retrain", f"the log loss of past scores, {loss.value:.3f}, is above the {limit:.3f} promised")
    if auc is not None and auc.high is not None and auc.high < 0.5:
        return Upkeep("retrain", f"past scores ranked customers worse than chance: ROC AUC {auc.value:.3f}")
    found = []
    if churned is not None and predicted is not None and churned.low is not None and churned.high is not None:
        said = predicted.value or 0.0
        if said < churned.low - tolerance or said > churned.high + tolerance:
            found.append(f"{said:.1%} were predicted to churn and {churned.value:.1%} did")
    if expected_log_loss is not None and limit is not None and expected_log_loss > limit:
        found.append(f"tonight's scores expect a log loss of {expected_log_loss:.3f}, above the {limit:.3f} promised")
    moved = sorted(((value, name) for name, value in drift.items() if value > max_drift), reverse=True)
    if moved:
        names = ", ".join(f"{name.replace('_', ' ')} ({value:.2f})" for value, name in moved[:3])
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        found.append(f"what customers do has moved since training: {names}{more}, where {max_drift:.2f} is much")
    return Upkeep("alert", "; ".join(found)) if found else Upkeep("fine", "nothing is out of the ordinary")
