"""Calibration: a small monotone map from a model's probability to the one observed on later examples, the same kind for
every model, and a factor for expected purchases and spend.

Platt (1999) scales and shifts the logit; beta calibration (Kull et al. 2017) weighs the logarithms of p and of 1 - p
separately; isotonic regression takes any rising steps. The first two are shrunk towards changing nothing, as much as
`PRIOR` says, so that a small sample does no harm.

A base rate that moves with the season is no fault of a model, and a map fitted on one season spoils the next. So the
kind is chosen by what would have helped before: each is fitted on the earlier examples of validation, and judged on
those of calibration. A simpler kind gives way only to one that is better beyond doubt, customers being the units; the
chosen one, which may be none, is then fitted on the calibration examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from models.numerics import beyond_doubt, intercept_adjusted, log_losses, logit, sigmoid, whose_labels

Kind = Literal["none", "platt", "beta", "isotonic"]
KINDS: tuple[Kind, ...] = ("none", "platt", "beta", "isotonic")
PRIOR = 2.0  # precision of each parameter around the value at which it changes nothing
PRIOR_EXAMPLES = 100  # of the mean expectation, that shrink the factor of a value towards 1
PRECISE = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500}


@dataclass(frozen=True)
class Calibration:
    """One map a horizon, in the model's order of horizons. `maps` holds for `platt` and `beta` the weights of the
    columns of `_columns`, for `isotonic` the logits at which it steps and the logits that it gives there, and nothing
    where the horizon was not observed. `base_rate` is the churn of the calibration examples, `predicted` their mean raw
    probability.
    """

    kind: Kind
    maps: list[list[list[float]]]
    factors: dict[str, list[float]]  # purchases and spend: a factor a horizon
    base_rate: list[float | None]
    predicted: list[float | None]

    @classmethod
    def fit(cls, kind: Kind, churn: Floats, probability: Floats, values: dict[str, tuple[Floats, Floats]]) -> Self:
        """From the labels and the raw probabilities, both [examples, horizons], NaN where not observed; `values` maps
        an outcome to actual and expected values, of the same shape.
        """
        maps, base_rate, predicted = [], [], []
        for label, raw in zip(churn.T, probability.T, strict=True):
            observed = np.isfinite(label)
            base_rate.append(float(label[observed].mean()) if observed.any() else None)
            predicted.append(float(raw[observed].mean()) if observed.any() else None)
            maps.append(_fit(kind, label[observed], logit(raw[observed])) if observed.any() else [])
        factors = {
            name: [_factor(*pair) for pair in zip(actual.T, expected.T, strict=True)]
            for name, (actual, expected) in values.items()
        }
        return cls(kind, maps, factors, base_rate, predicted)

    @classmethod
    def choose(cls, before: tuple[Floats, Floats], after: tuple[Floats, Floats], customer: NDArray[np.object_]) -> Kind:
        """The kind that, fitted on `before`, would have helped on `after`, each labels and probabilities [examples,
        horizons]: from the simplest on, the next where its log loss is lower beyond doubt. `customer` is whose the
        examples of `after` are. The level is what a map is for, so that the loss is not adjusted for the intercept.
        """
        owner = whose_labels(after[0], customer)
        losses = {kind: log_losses(after[0], cls.fit(kind, *before, {}).churn(after[1])) for kind in KINDS}
        chosen = KINDS[0]
        for kind in KINDS[1:]:
            if beyond_doubt(losses[chosen] - losses[kind], owner):
                chosen = kind
        return chosen

    def levelled(self, churn: Floats, probability: Floats) -> Self:
        """The same maps, each horizon's shifted so that the mean of what it makes of `probability`, raw, is the base
        rate of the observed `churn`, both [examples, horizons]. The kind `none` stays none: where no map would have
        helped before, a level that moves is the season's.
        """
        logits = logit(self.churn(probability))
        shifts = np.nanmean(intercept_adjusted(churn, logits) - logits, axis=0)
        observed = np.where(np.isfinite(churn), probability, np.nan)
        return replace(
            self,
            maps=[_shifted(self.kind, fitted, float(shift)) for fitted, shift in zip(self.maps, shifts, strict=True)],
            base_rate=[_mean(column) for column in churn.T],
            predicted=[_mean(column) for column in observed.T],
        )

    def churn(self, probability: Floats) -> Floats:
        """[examples, horizons], calibrated; a horizon without a map is left as it is."""
        columns = [
            _apply(self.kind, fitted, raw) if fitted else raw
            for fitted, raw in zip(self.maps, probability.T, strict=True)
        ]
        return np.column_stack(columns)

    def slope(self, horizon_index: int) -> float:
        """By how much Platt's map stretches a logit; 1 for the other kinds, which have no one slope."""
        fitted = self.maps[horizon_index]
        return fitted[0][1] if self.kind == "platt" and fitted else 1.0

    def value(self, name: str, expected: Floats) -> Floats:
        return np.asarray(expected * np.asarray(self.factors.get(name, 1.0)))


def _fit(kind: Kind, label: Floats, logits: Floats) -> list[list[float]]:
    if kind == "none":
        return []
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        # Half a churner and half a stayer at either end, so that no probability is 0 or 1.
        x = np.r_[logits.min() - 1, logits, logits.max() + 1]
        y = np.r_[label.mean(), label, label.mean()]
        fitted = IsotonicRegression(out_of_bounds="clip").fit(x, y)
        steps = np.clip(fitted.y_thresholds_, 0.5 / len(label), 1 - 0.5 / len(label))
        return [fitted.X_thresholds_.tolist(), logit(steps).tolist()]
    columns, start = _columns(kind, logits)
    return [_least(columns, label, start).tolist()]


def _shifted(kind: Kind, fitted: Sequence[Sequence[float]], shift: float) -> list[list[float]]:
    if not fitted:
        return []
    if kind == "isotonic":
        x, y = fitted
        return [list(x), [logits + shift for logits in y]]
    return [[fitted[0][0] + shift, *fitted[0][1:]]]


def _mean(values: Floats) -> float | None:
    observed = values[np.isfinite(values)]
    return float(observed.mean()) if len(observed) else None


def _apply(kind: Kind, fitted: Sequence[Sequence[float]], probability: Floats) -> Floats:
    logits = logit(probability)
    if kind == "isotonic":
        x, y = fitted
        return sigmoid(np.interp(logits, np.array(x), np.array(y)))
    return sigmoid(_columns(kind, logits)[0] @ np.array(fitted[0]))


def _columns(kind: Kind, logits: Floats) -> tuple[Floats, Floats]:
    """The columns to weigh, [examples, columns], and the weights that change nothing; the intercept comes first."""
    ones = np.ones_like(logits)
    if kind == "beta":
        columns = [ones, np.log(sigmoid(logits) + 1e-300), -np.log(sigmoid(-logits) + 1e-300)]
        return np.column_stack(columns), np.array([0.0, 1.0, 1.0])
    return np.column_stack([ones, logits]), np.array([0.0, 1.0])


def _least(columns: Floats, label: Floats, start: Floats) -> Floats:
    """The weights of least cross-entropy plus `PRIOR / 2` times the squared distance from `start`; all but the
    intercept are at least 0, which keeps the map rising. The problem is convex.
    """
    from scipy.optimize import minimize

    def loss(weights: Floats) -> tuple[float, Floats]:
        linear, distance = columns @ weights, weights - start
        total = np.logaddexp(0, linear).sum() - label @ linear + PRIOR / 2 * (distance @ distance)
        return float(total), columns.T @ (sigmoid(linear) - label) + PRIOR * distance

    bounds = [(None, None), *[(0.0, None)] * (len(start) - 1)]
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=PRECISE).x)


def _factor(actual: Floats, expected: Floats) -> float:
    observed = np.isfinite(actual)
    if not observed.any():
        return 1.0
    prior = PRIOR_EXAMPLES * float(expected[observed].mean())
    total = float(np.maximum(actual[observed], 0).sum())
    return (total + prior) / (float(expected[observed].sum()) + prior) if prior > 0 else 1.0


def factor_helps(before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> bool:
    """Whether the factors fitted `before` bring the expected totals nearer the actual ones `after`."""
    improvements = []
    for *earlier, came, forecast in zip(before[0].T, before[1].T, after[0].T, after[1].T, strict=True):
        observed = np.isfinite(came)
        actual, expected = np.maximum(came[observed], 0).sum(), forecast[observed].sum()
        if actual > 0 and expected > 0:
            miss = float(np.log(expected / actual))
            improvements.append(abs(miss) - abs(miss + np.log(max(_factor(*earlier), 1e-9))))
    return bool(sum(improvements) > 0)
