"""The gate that a challenger must pass to become champion. Code reads it; every check leaves its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import CustomerWeights, Interval, mean
from models.evaluation.metrics import example_log_loss
from models.evaluation.scoring import score

NO_SKILL_AUC = 0.5
FEWEST_CUSTOMERS = 50  # of a subgroup that can fail a challenger
SUBGROUP_REPLICATES = 500
MAX_CALIBRATION_ERROR = 0.1  # off by ten points for certain, probabilities mislead whoever reads them as such


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model before the gate: `recipe` identifies how it is made (class, parameters, views), and
    `probability [examples]` are its churn probabilities for the test examples.
    """

    name: str
    recipe: str
    probability: ArrayLike


@dataclass(frozen=True, eq=False)
class Gate:
    """What a challenger is judged by. `constant` is the base rate of training; `margin` is in log loss; `subgroups` are
    masks of the test examples by name; `may_change` says that the recipe did not change within the last horizon.
    """

    constant: float
    margin: float
    subgroups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    may_change: bool = True


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and a reason for every check that was made, passed or not."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Candidate, champion: Candidate | None, gate: Gate, labels: ArrayLike, weights: CustomerWeights
) -> Decision:
    """Judge `challenger` on the test examples, churn `labels [examples]`.

    It must beat the constant prediction on log loss (95 % limits of the paired difference above 0), in no subgroup be
    clearly worse than it, rank better than chance (lower limit of the ROC AUC above 0.5), and not be clearly
    miscalibrated (lower limit of the calibration error no more than `MAX_CALIBRATION_ERROR`). Against a champion of the
    same recipe it must not be worse by more than `margin`; against one of another recipe the whole interval of the
    difference must be in its favour, and the recipe must not have changed within the last horizon. A check that cannot
    be decided (one class only, too few customers) is not passed. Raises ValueError for what cannot be scored.
    """
    truth = np.asarray(labels, dtype=np.float64)
    loss = example_log_loss(truth, challenger.probability)
    gains = example_log_loss(truth, np.full(len(truth), gate.constant)) - loss
    gain = mean(gains, weights)
    metrics = score(truth, challenger.probability, weights)
    auc, calibration = metrics["roc_auc"], metrics["calibration_error"]
    name = challenger.name
    checks = [
        (
            gain.low is not None and gain.low > 0,
            f"{name} against the constant prediction {gate.constant:.3f}: log loss lower by {_figures(gain)}",
        ),
        (
            auc.low is not None and auc.low > NO_SKILL_AUC,
            f"{name} against no skill: ROC AUC {_figures(auc)}, must be above {NO_SKILL_AUC}",
        ),
        (
            calibration.low is not None and calibration.low <= MAX_CALIBRATION_ERROR,
            f"{name}'s calibration error: {_figures(calibration)}, at most {MAX_CALIBRATION_ERROR:g}",
        ),
    ]
    if gate.subgroups:
        checks.append(_floors(name, gains, gate.subgroups, weights))
    if champion is not None:
        ahead = mean(example_log_loss(truth, champion.probability) - loss, weights)
        if champion.recipe == challenger.recipe:
            fresh = ahead.value is not None and ahead.value >= -gate.margin
            words = f"{name} against the champion of the same recipe: log loss lower by {_figures(ahead)}"
            checks.append((fresh, f"{words}, not worse than {gate.margin:g}"))
        else:
            checks.append((gate.may_change, "the recipe did not change within the last horizon"))
            words = f"{name} against the champion {champion.name}: log loss lower by {_figures(ahead)}, above 0"
            checks.append((ahead.low is not None and ahead.low > 0, words))
    return Decision(
        promote=all(passed for passed, _ in checks),
        reasons=tuple(f"{'passed' if passed else 'failed'}: {words}" for passed, words in checks),
    )


def _floors(
    name: str, gains: NDArray[np.float64], subgroups: Mapping[str, NDArray[np.bool_]], weights: CustomerWeights
) -> tuple[bool, str]:
    """Whether the gain over the constant prediction is clearly negative in no subgroup, and the worst."""
    intervals = {}
    for subgroup, mask in subgroups.items():
        drawn = weights.within(mask).fewer(SUBGROUP_REPLICATES)
        if drawn.customers >= FEWEST_CUSTOMERS:
            intervals[subgroup] = mean(gains[mask], drawn)
    if not intervals:
        return True, f"{name} in slices: none holds {FEWEST_CUSTOMERS} customers"
    worst = min(intervals, key=lambda subgroup: (_high(intervals[subgroup]), subgroup))
    words = f"{name} in {len(intervals)} slices against the constant prediction: at worst ({worst}) log loss lower by"
    return _high(intervals[worst]) >= 0, f"{words} {_figures(intervals[worst])}, in none clearly higher"


def _high(interval: Interval) -> float:
    return 0.0 if interval.high is None else interval.high


def _figures(interval: Interval) -> str:
    if interval.value is None:
        return "undefined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4f} (no interval)"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"
