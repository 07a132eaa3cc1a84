"""The straight line: penalised logistic regressions of churn on the same columns, one a horizon; and what share another
model should have beside it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arrays import Floats
from models.numerics import NEWTON_STEPS, intercept_adjusted_loss, sigmoid

# Of scikit-learn's C: the larger, the less the weights are held back.
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # tried first
WEAKEST, STRONGEST, FACTOR = 1e-4, 30.0, 10**0.5  # how far, and by which steps, the search goes on
REFINEMENTS = 2
Weights = list[list[float]]  # [horizons, 1 + columns], the intercept first


def fit_line(rows: Floats, churn: Floats, strength: float) -> Weights:
    """From `rows` [examples, columns] and `churn` [examples, horizons], NaN where not observed."""
    return by_horizon(lambda own, label: _churn_weights(own, label, strength), rows, churn)


def strongest_line(train: tuple[Floats, Floats], held_out: tuple[Floats, Floats]) -> tuple[Weights, float, list[float]]:
    """The line of the strength that `best_strength` finds on `held_out`, that strength, and the losses of the search;
    both parts are rows and churn, as `fit_line` takes them.
    """
    lines: dict[float, Weights] = {}

    def loss(strength: float) -> float:
        lines[strength] = fit_line(*train, strength)
        return intercept_adjusted_loss(held_out[1], linear(lines[strength], held_out[0]))

    strength, losses = best_strength(loss)
    return lines[strength], strength, losses


def linear(weights: Weights, rows: Floats) -> Floats:
    """[examples, horizons]: the intercepts and the weighted columns."""
    each = np.array(weights)
    return np.asarray(rows @ each[:, 1:].T + each[:, 0])


def best_strength(loss: Callable[[float], float]) -> tuple[float, list[float]]:
    """The strength of least `loss` that a search finds, and the losses in ascending order of strength: of STRENGTHS and
    beyond them for as long as the outermost is best, then between the best and its neighbours.
    """
    tried = {strength: loss(strength) for strength in STRENGTHS}

    def best() -> float:
        return min(tried, key=tried.__getitem__)

    while best() == min(tried) and best() > WEAKEST:
        tried[best() / FACTOR] = loss(best() / FACTOR)
    while best() == max(tried) and best() < STRONGEST:
        tried[best() * FACTOR] = loss(best() * FACTOR)
    for _ in range(REFINEMENTS):
        ordered, centre = sorted(tried), best()
        place = ordered.index(centre)
        for neighbour in (*ordered[max(place - 1, 0) : place], *ordered[place + 1 : place + 2]):
            middle = float(np.sqrt(centre * neighbour))
            tried[middle] = loss(middle)
    return best(), [tried[strength] for strength in sorted(tried)]


def by_horizon(fit: Callable[[Floats, Floats], list[float]], rows: Floats, labels: Floats) -> Weights:
    """What `fit` makes of the rows whose label was observed, for each horizon."""
    return [
        fit(rows[observed], label[observed]) for label, observed in zip(labels.T, np.isfinite(labels).T, strict=True)
    ]


def _churn_weights(rows: Floats, label: Floats, strength: float) -> list[float]:
    from sklearn.linear_model import LogisticRegression as Regression

    if label.min() == label.max():
        # One outcome only: nothing to regress on; a constant with half a case of the other added.
        rate = (label.sum() + 0.5) / (len(label) + 1)
        return [float(np.log(rate / (1 - rate))), *[0.0] * rows.shape[1]]
    fitted = Regression(C=strength, solver="newton-cholesky", max_iter=50).fit(rows, label)
    return [float(fitted.intercept_[0]), *fitted.coef_[0].tolist()]


def shrunken_share(churn: Floats, line: Floats, other: Floats, customer: NDArray[Any]) -> float:
    """The share s in [0, 1] of `other` in the logits `line + s (other - line)`, all [examples, horizons].

    It is that of least cross-entropy on the observed `churn`, with the level of each horizon free, shrunk towards 0 by
    the nonnegative garrote (Breiman, 1995): s - v / s where v is its sampling variance, customers being the units; and
    0 where s is less than its standard error.
    """
    told = [c for c in range(churn.shape[1]) if np.unique(churn[np.isfinite(churn[:, c]), c]).size == 2]
    apart = other - line
    if not told or not np.ptp(apart) or len(np.unique(customer.astype(str))) < 2:
        return 0.0
    example, column = np.nonzero(np.isfinite(churn[:, told]))
    label, offset = churn[:, told][example, column], line[:, told][example, column]
    columns = np.column_stack([np.eye(len(told))[column], apart[:, told][example, column]])
    weights = np.zeros(columns.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = sigmoid(offset + columns @ weights)
        curvature = columns.T @ (columns * (probability * (1 - probability))[:, None]) + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(curvature, columns.T @ (label - probability))
        weights += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    codes, customers = pd.factorize(customer[example])
    scores = np.zeros((len(customers), len(weights)))
    np.add.at(scores, codes, columns * (label - sigmoid(offset + columns @ weights))[:, None])
    moves = np.linalg.solve(curvature, scores.T)[-1]
    variance = float(moves @ moves) * len(customers) / max(len(customers) - 1, 1)
    share = float(weights[-1])
    return float(np.clip(share - variance / share, 0.0, 1.0)) if share > 0 else 0.0
