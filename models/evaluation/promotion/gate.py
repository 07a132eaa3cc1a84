"""The gate that a challenger must pass to become champion. Code reads it; every check leaves its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import CustomerWeights, Interval, mean, window_means
from models.evaluation.metrics import Floats, example_log_loss
from models.evaluation.promotion.nomination import Contest
from models.evaluation.scoring import score

NO_SKILL_AUC = 0.5
FEWEST_CUSTOMERS = 50  # of a subgroup that can fail a challenger
SUBGROUP_REPLICATES = 500
MAX_CALIBRATION_ERROR = 0.1  # off by ten points for certain, probabilities mislead whoever reads them as such


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model before the gate: `recipe` identifies how it is made (class, parameters, views), and
    `probability [rows]` are its churn probabilities for the test.
    """

    name: str
    recipe: str
    probability: ArrayLike


@dataclass(frozen=True, eq=False)
class Gate:
    """What a challenger is judged by. `base_rates [windows]` are the shares that churned of the labels that each
    window's fits learnt from; `margin` is in log loss; `subgroups` are masks of the test's rows by name. `contest` is
    this training's part in a change of the champion's recipe; needed where the challenger's is another.
    """

    base_rates: Sequence[float]
    margin: float
    subgroups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    contest: Contest | None = None


@dataclass(frozen=True)
class Check:
    """What was found, in words, and whether the challenger passes it."""

    passed: bool
    words: str


@dataclass(frozen=True)
class Decision:
    """Every check that was made. `trainings` is in how many trainings in a row, this one included, the challenger's
    recipe was clearly ahead of the champion's; 0 where it is not, and where the two are the same.
    """

    checks: tuple[Check, ...]
    trainings: int = 0

    @property
    def promote(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The words of every check, those that were not passed first."""
        return tuple(check.words for check in sorted(self.checks, key=lambda check: check.passed))


def decide(
    challenger: Candidate, champion: Candidate | None, gate: Gate, labels: ArrayLike, weights: CustomerWeights
) -> Decision:
    """Judge `challenger` on the test, churn `labels [rows]`.

    Its log loss must be clearly lower than that of the constant prediction, each window's own base rate of training
    (95 % limits of the paired difference above 0), in no subgroup clearly higher; it must rank better than chance
    (lower limit of the ROC AUC above 0.5) and not be clearly miscalibrated (lower limit of the calibration error no
    more than `MAX_CALIBRATION_ERROR`). Against a champion of the same recipe it must not be worse by more than
    `margin`. Against one of another recipe it must be clearly ahead, in as many trainings in a row as `contest` needs.
    A check that cannot be decided (one class only, too few customers) is not passed. Raises ValueError for what cannot
    be scored.
    """
    truth = np.asarray(labels, dtype=np.float64)
    loss = example_log_loss(truth, challenger.probability)
    constant = np.tile(np.asarray(gate.base_rates, np.float64)[weights.window], weights.seeds)
    gains = example_log_loss(truth, constant) - loss
    metrics = score(truth, challenger.probability, weights)
    checks = [
        _against_constant(
            challenger.name, mean(gains, weights), gate.base_rates, window_means(truth[None], weights)[0]
        ),
        _ranks(challenger.name, metrics["roc_auc"]),
        _is_calibrated(challenger.name, metrics["calibration_error"]),
    ]
    if gate.subgroups:
        checks.append(_in_subgroups(challenger.name, gains, gate.subgroups, weights))
    if champion is None:
        return Decision(tuple(checks))
    lead = example_log_loss(truth, champion.probability) - loss
    if champion.recipe == challenger.recipe:
        return Decision((*checks, _renewal(challenger.name, mean(lead, weights), gate.margin)))
    if gate.contest is None:
        raise ValueError(f"{challenger.name} is of another recipe than {champion.name}: a contest says what that takes")
    check, trainings = _succession(challenger.name, champion.name, lead, gate.contest, weights)
    return Decision((*checks, check), trainings)


def _against_constant(name: str, gain: Interval, base_rates: Sequence[float], own: Floats) -> Check:
    rates = ", ".join(
        f"{training:.3f} ({test:.3f} in the test)" for training, test in zip(base_rates, own, strict=True)
    )
    words = f"{name} {_lower(gain)} the constant prediction of the base rate of training, {rates}: {_figures(gain)}"
    return Check(_is_above(gain, 0), words)


def _ranks(name: str, auc: Interval) -> Check:
    clear = _is_above(auc, NO_SKILL_AUC)
    verb = "ranks better than chance" if clear else "does not clearly rank better than chance"
    return Check(clear, f"{name} {verb}: its ROC AUC is {_figures(auc)}")


def _is_calibrated(name: str, error: Interval) -> Check:
    passed = error.low is not None and error.low <= MAX_CALIBRATION_ERROR
    verb = "is above" if error.low is not None and not passed else "is not clearly above"
    verb = "cannot be told from" if error.low is None else verb
    return Check(passed, f"{name}'s calibration error {_figures(error)} {verb} {MAX_CALIBRATION_ERROR:g}")


def _in_subgroups(
    name: str, gains: Floats, subgroups: Mapping[str, NDArray[np.bool_]], weights: CustomerWeights
) -> Check:
    """Whether the gain over the constant prediction is clearly negative in no subgroup, and the worst."""
    intervals = {}
    for subgroup, mask in subgroups.items():
        drawn = weights.within(mask).fewer(SUBGROUP_REPLICATES)
        if drawn.customers >= FEWEST_CUSTOMERS:
            intervals[subgroup] = mean(gains[mask], drawn)
    if not intervals:
        return Check(True, f"no subgroup holds {FEWEST_CUSTOMERS} customers, so {name} was judged in none")
    worst = min(intervals, key=lambda subgroup: (_high(intervals[subgroup]), subgroup))
    passed = _high(intervals[worst]) >= 0
    verb = f"is clearly worse than the constant prediction in none of {len(intervals)} subgroups, at worst in"
    if not passed:
        verb = f"is clearly worse than the constant prediction in a subgroup of {len(intervals)},"
    return Check(passed, f"{name} {verb} {worst!r}: log loss lower by {_figures(intervals[worst])}")


def _renewal(name: str, ahead: Interval, margin: float) -> Check:
    passed = ahead.value is not None and ahead.value >= -margin
    verb = "is not worse" if passed else "is worse"
    words = f"{name} {verb} by more than {margin:g} than the champion of the same recipe: log loss lower by"
    return Check(passed, f"{words} {_figures(ahead)}")


def _succession(
    name: str, champion: str, lead: Floats, contest: Contest, weights: CustomerWeights
) -> tuple[Check, int]:
    """Whether a recipe may take the place of another, and in how many trainings in a row it was clearly ahead."""
    interval = contest.lead(name, lead, weights)
    trainings = contest.trainings(name, interval)
    later = " on examples later than those of the training before" if contest.nominee == name else ""
    words = f"{name} {_lower(interval)} the champion {champion}{later}: {_figures(interval)}"
    if trainings and contest.needed > 1:
        words += f", in training {trainings} of the {contest.needed} in a row that a change of recipe takes"
    return Check(trainings >= contest.needed, words), trainings


def _lower(difference: Interval) -> str:
    clear = _is_above(difference, 0)
    return f"{'has' if clear else 'does not clearly have'} a lower log loss than"


def _is_above(interval: Interval, limit: float) -> bool:
    return interval.low is not None and interval.low > limit


def _high(interval: Interval) -> float:
    return 0.0 if interval.high is None else interval.high


def _figures(interval: Interval) -> str:
    if interval.value is None:
        return "undefined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4f} (no interval: too few customers)"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"
