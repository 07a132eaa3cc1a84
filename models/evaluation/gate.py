"""The gate that a challenger must pass to become champion. Code reads it; every check leaves its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import CustomerWeights, Interval, customer_weights, mean, score
from models.evaluation.metrics import example_log_loss

NO_SKILL_AUC = 0.5
FEWEST_CUSTOMERS = 50  # of a slice that can fail a challenger
SLICE_REPLICATES = 500
MAX_CALIBRATION_ERROR = 0.1
"""Off by ten points on average, for certain: such probabilities mislead whoever reads them as probabilities."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model before the gate: `recipe` identifies how it is made (class, parameters, views), and
    `probability [examples]` are its churn probabilities for the test examples.
    """

    name: str
    recipe: str
    probability: ArrayLike


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and a reason for every check that was made, passed or not."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Candidate,
    champion: Candidate | None,
    constant: float,
    labels: ArrayLike,
    weights: CustomerWeights,
    *,
    margin: float,
    max_calibration_error: float = MAX_CALIBRATION_ERROR,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    may_change: bool = True,
) -> Decision:
    """Judge `challenger` on the test examples, churn `labels [examples]`, with `constant` the base rate of training.

    It must beat the constant prediction on log loss (95 % limits of the paired difference above 0), in no slice of the
    examples (masks by name) be clearly worse than it, rank better than chance (lower limit of the ROC AUC above 0.5),
    and not be clearly off its mark (lower limit of the calibration error no more than `max_calibration_error`). Against
    a reigning champion of the same recipe it must not be worse by more than `margin`; against one of another recipe the
    whole interval of the difference must be in its favour, and the recipe must not have changed within the last horizon
    (`may_change`). What cannot be told (one class only, too few customers) is not passed. Raises ValueError for what
    cannot be scored.
    """
    truth = np.asarray(labels, dtype=np.float64)
    loss = example_log_loss(truth, challenger.probability)
    gain = mean(example_log_loss(truth, np.full(len(truth), constant)) - loss, weights)
    metrics = score(truth, challenger.probability, weights)
    auc, calibration = metrics["roc_auc"], metrics["calibration_error"]
    name = challenger.name
    checks = [
        (
            gain.low is not None and gain.low > 0,
            f"{name} against the constant prediction {constant:.3f}: log loss lower by {_figures(gain)}",
        ),
        (
            auc.low is not None and auc.low > NO_SKILL_AUC,
            f"{name} against no skill: ROC AUC {_figures(auc)}, must be above {NO_SKILL_AUC}",
        ),
        (
            calibration.low is not None and calibration.low <= max_calibration_error,
            f"{name}'s calibration error: {_figures(calibration)}, at most {max_calibration_error:g}",
        ),
    ]
    if slices:
        checks.append(_floors(name, example_log_loss(truth, np.full(len(truth), constant)) - loss, slices, weights))
    if champion is not None:
        ahead = mean(example_log_loss(truth, champion.probability) - loss, weights)
        if champion.recipe == challenger.recipe:
            fresh = ahead.value is not None and ahead.value >= -margin
            words = f"{name} against the champion of the same recipe: log loss lower by {_figures(ahead)}"
            checks.append((fresh, f"{words}, not worse than {margin:g}"))
        else:
            checks.append((may_change, "the recipe did not change within the last horizon"))
            words = f"{name} against the champion {champion.name}: log loss lower by {_figures(ahead)}, above 0"
            checks.append((ahead.low is not None and ahead.low > 0, words))
    return Decision(
        promote=all(passed for passed, _ in checks),
        reasons=tuple(f"{'passed' if passed else 'failed'}: {words}" for passed, words in checks),
    )


def _floors(
    name: str, gain: NDArray[np.float64], slices: Mapping[str, NDArray[np.bool_]], weights: CustomerWeights
) -> tuple[bool, str]:
    """Whether the gain over the constant prediction is clearly negative in none of the slices, and the worst."""
    found = {}
    for slice, mask in slices.items():
        customers = weights.unit[mask]
        if len(np.unique(customers)) >= FEWEST_CUSTOMERS:
            found[slice] = mean(gain[mask], customer_weights(customers.astype(str), SLICE_REPLICATES, weights.seed))
    if not found:
        return True, f"{name} in slices: none holds {FEWEST_CUSTOMERS} customers"
    worst = min(found, key=lambda slice: (_high(found[slice]), slice))
    words = f"{name} in {len(found)} slices against the constant prediction: at worst ({worst}) log loss lower by"
    return _high(found[worst]) >= 0, f"{words} {_figures(found[worst])}, in none clearly higher"


def _high(interval: Interval) -> float:
    return 0.0 if interval.high is None else interval.high


def _figures(interval: Interval) -> str:
    if interval.value is None:
        return "undefined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4f} (no interval)"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"
