"""The straight line: penalised logistic regressions of churn on the same columns, one a horizon; and what share another
model should have beside it.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    lines = np.array(weights)
    with side_by_side():
        return np.asarray(rows @ lines[:, 1:].T + lines[:, 0])


def best_strength(loss: Callable[[float], float]) -> tuple[float, list[float]]:
    """The strength of least `loss` that a search finds, and the losses in ascending order of strength: of STRENGTHS and
    beyond them for as long as the outermost is best, then between the best and its neighbours. `loss` is called from
    threads side by side.
    """
    tried = dict[float, float]()

    def best() -> float:
        return min(tried, key=tried.__getitem__)

    with side_by_side() as each:

        def try_out(*strengths: float) -> None:
            tried.update(zip(strengths, each(loss, strengths), strict=True))

        try_out(*STRENGTHS)
        while best() == min(tried) and best() > WEAKEST:
            try_out(best() / FACTOR)
        while best() == max(tried) and best() < STRONGEST:
            try_out(best() * FACTOR)
        for _ in range(REFINEMENTS):
            ordered, centre = sorted(tried), best()
            place = ordered.index(centre)
            neighbours = (*ordered[max(place - 1, 0) : place], *ordered[place + 1 : place + 2])
            try_out(*(float(np.sqrt(centre * neighbour)) for neighbour in neighbours))
    return best(), [tried[strength] for strength in sorted(tried)]


@contextmanager
def side_by_side() -> "Iterator[Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]]":
    """A `map` over threads, one a core, within which BLAS has one: the products of a regression are too small for
    more, and so a sum has the same bits on any number of cores.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        yield pool.map


def by_horizon(fit: Callable[[Floats, Floats], list[float]], rows: Floats, labels: Floats) -> Weights:
    """What `fit` makes of the rows whose label was observed, for each horizon."""
    with side_by_side() as each:
        return list(each(lambda label: fit(rows[np.isfinite(label)], label[np.isfinite(label)]), labels.T))


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
