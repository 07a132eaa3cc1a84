"""Labels and predictions, the parts that every model shares: base rates, losses, scales, and order among horizons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from features.dataset import Floats, Labels

FLOOR = 1e-7  # probabilities are held within [FLOOR, 1 - FLOOR] before a logarithm is taken
VALUES = ("purchases", "spend")
NEWTON_STEPS = 50
STANDARD_ERRORS = 2.0  # by which something must be better to be so beyond doubt


def sigmoid(logits: Floats) -> Floats:
    """`1 / (1 + exp(-x))`, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))))


def logit(probability: Floats) -> Floats:
    """`log(p / (1 - p))`, with p held off 0 and 1 by the least that a double can tell."""
    held = np.clip(probability, 1e-300, 1 - 1e-16)
    return np.asarray(np.log(held) - np.log1p(-held))


def log_loss(churn: Floats, probability: Floats) -> float:
    """The mean cross-entropy over the labels that were observed, of all horizons."""
    return float(log_losses(churn, probability).mean())


def log_losses(churn: Floats, probability: Floats) -> Floats:
    """The cross-entropy of each label that was observed, in nats."""
    observed = np.isfinite(churn)
    held = np.clip(probability[observed], FLOOR, 1 - FLOOR)
    label = churn[observed]
    return np.asarray(-(label * np.log(held) + (1 - label) * np.log(1 - held)))


def levelled_loss(churn: Floats, logits: Floats) -> float:
    """The log loss of `levelled` logits: what a training is stopped by."""
    return log_loss(churn, sigmoid(levelled(churn, logits)))


def levelled(churn: Floats, logits: Floats) -> Floats:
    """`logits` [examples, horizons], those of each horizon shifted together so that their mean probability is the base
    rate of the observed `churn`.

    A base rate that moved between training and validation is for calibration to mend. Were it held against a model,
    the best epoch would be an early one that happens to lie at the new level, whatever it knows of customers.
    """
    shifted = np.array(logits, np.float64)
    for place, rate in enumerate(base_rates(churn)):
        known = np.isfinite(churn[:, place])
        shifted[:, place] += _shift_to(rate, shifted[known, place]) if known.any() else 0.0
    return shifted


def _shift_to(rate: float, logits: Floats) -> float:
    """By Newton's method: what to add to `logits` so that their mean probability is `rate`."""
    shift = 0.0
    for _ in range(NEWTON_STEPS):
        probability = sigmoid(logits + shift)
        slope = float((probability * (1 - probability)).mean())
        step = (rate - float(probability.mean())) / max(slope, FLOOR)
        shift += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9:
            break
    return shift


def beyond_doubt(gain: Floats) -> bool:
    """Whether what is simpler should give way to what gains so much on each label: the one-standard-error rule of
    Breiman et al. (1984), here with two, since a customer's rows repeat one another.
    """
    return bool(gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))


def base_rates(churn: Floats) -> Floats:
    """[horizons]: the share that churned among the observed, with half a churn and half a return added, so that no rate
    is 0 or 1.
    """
    observed = np.isfinite(churn)
    return np.asarray((np.where(observed, churn, 0).sum(0) + 0.5) / (observed.sum(0) + 1.0))


def ordered_by_horizon(probability: Floats, horizons: Sequence[int]) -> Floats:
    """`probability` [examples, horizons], made consistent: who churns for longer has churned for shorter, so that a
    longer horizon never has the higher probability. The shortest horizon's is kept.
    """
    order = np.argsort(horizons, kind="stable")
    consistent = np.empty_like(probability)
    consistent[:, order] = np.minimum.accumulate(probability[:, order], axis=1)
    return consistent


def observed_labels(labels: Labels | None) -> Labels:
    """The labels to learn from. Raises ValueError where there are none."""
    if labels is None or not np.isfinite(labels.churn).any(axis=0).all():
        raise ValueError("no label was observed for some horizon: training needs examples whose horizons have closed")
    return labels


def held_out_labels(labels: Labels | None) -> Labels:
    """The labels to validate by. A horizon longer than the time between two slices has none, and the others decide.
    Raises ValueError where there are none at all.
    """
    if labels is None or not np.isfinite(labels.churn).any():
        raise ValueError("no label was observed: validation needs examples whose horizons have closed")
    return labels


@dataclass(frozen=True)
class ValueScale:
    """Between a count or an amount and what a network is trained on: the value as a multiple of `unit`, its training
    mean, whose expectation's logarithm the network answers. Refunds can make spend negative; it counts as 0 here. All
    fields are [horizons].

    `factor` brings the total of the predictions on the training examples to the total of their labels, which early
    stopping leaves a little apart.
    """

    unit: list[float]
    factor: list[float]

    @classmethod
    def fit(cls, values: Floats) -> Self:
        mean = np.nanmean(np.maximum(values, 0), axis=0)
        return cls(np.where(mean > 1e-9, mean, 1.0).tolist(), [1.0] * values.shape[1])

    def to_scale(self, values: Floats) -> Floats:
        return np.asarray(np.maximum(values, 0) / self.unit)

    def from_scale(self, answers: Floats) -> Floats:
        # Nobody is expected to buy e^30 times as much as the mean: the bound only keeps the exponential finite.
        return np.asarray(np.exp(np.clip(answers, -30, 30)) * self.unit * self.factor)

    def calibrated(self, values: Floats, answers: Floats) -> Self:
        observed = np.isfinite(values)
        expected = np.where(observed, self.from_scale(answers), 0).sum(0) / self.factor
        total = np.where(observed, np.maximum(values, 0), 0).sum(0)
        factor = np.divide(total, expected, out=np.ones_like(total), where=expected > 0)
        return type(self)(self.unit, factor.tolist())

    def to_json(self) -> dict[str, Any]:
        return {"unit": self.unit, "factor": self.factor}
