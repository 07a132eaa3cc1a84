"""Pareto/NBD: who purchases may leave at any moment (Schmittlein, Morrison & Colombo 1987)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from features.arrays import Floats
from models.conventional.buy_till_you_die import BuyTillYouDie, PurchaseHistory

MOST_TERMS, RELATIVE_ERROR = 5_000, 1e-14  # of a continued fraction


class ParetoNBD(BuyTillYouDie):
    """Purchases come at a rate that is gamma distributed (shape `r`, scale `1 / alpha`), and the customer leaves at a
    rate that is (`s`, `1 / beta`). D. C. Schmittlein, D. G. Morrison and R. Colombo, "Counting your customers: who are
    they and what will they do next?", Management Science 33 (1987), 1; formulas as in P. S. Fader and B. G. S. Hardie,
    "A note on deriving the Pareto/NBD model and related expressions" (2005).
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")
    times: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    @classmethod
    def log_likelihood(cls, parameters: Sequence[float], customers: PurchaseHistory) -> Floats:
        """Their equation (18), `D(T) + s / (r + s + x) (G(t_x) - G(T))`: still there at T, or left at a moment since
        t_x.
        """
        from scipy.special import gammaln

        r, alpha, s, beta = parameters
        x = customers.repeats
        shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        there = _log_there(parameters, x, customers.age)
        return np.asarray(shared + there + np.logaddexp(0, _log_odds_of_having_left(parameters, customers)))

    @classmethod
    def expected_purchases(cls, parameters: Sequence[float], customers: PurchaseHistory, time: float) -> Floats:
        """Their equation (41)."""
        r, alpha, s, beta = parameters
        age = customers.age
        growth = np.log1p(time / (beta + age))
        # (1 - q^(s - 1)) / (s - 1) with q = (beta + T) / (beta + T + t), which tends to -log q
        stay = growth if s == 1 else -np.expm1((1 - s) * growth) / (s - 1)
        if_there = (r + customers.repeats) * (beta + age) / (alpha + age) * stay
        return np.asarray(if_there * np.exp(-np.logaddexp(0, _log_odds_of_having_left(parameters, customers))))


def _log_there(parameters: Sequence[float], x: Floats, time: Floats) -> Floats:
    """`log D(t) = -(r + x) log(alpha + t) - s log(beta + t)`: x purchases, and still there at `time`."""
    r, alpha, s, beta = parameters
    return np.asarray(-(r + x) * np.log(alpha + time) - s * np.log(beta + time))


def _series(parameters: Sequence[float], x: Floats, time: Floats) -> Floats:
    """`G(t) / D(t)`, where `s / (r + s + x) G(t)` is the integral from t on of leaving then.

    Of the two forms of the hypergeometric function, for alpha above and below beta, Euler's transformation makes
    `F(1, r + x; k + 1; z)` and `(alpha + t) / (beta + t) F(1, s + 1; k + 1; z)`, `k = r + s + x`: series of positive
    terms below `1 / (1 - z)`, which do not overflow however large x is.
    """
    r, alpha, s, beta = parameters
    k = r + s + x
    if alpha >= beta:
        return hypergeometric(r + x, k + 1, (alpha - beta) / (alpha + time))
    return (
        (alpha + time) / (beta + time) * hypergeometric(np.full_like(x, s + 1), k + 1, (beta - alpha) / (beta + time))
    )


def hypergeometric(b: Floats, c: Floats, z: Floats) -> Floats:
    """`F(1, b; c; z)` for 0 < b < c and 0 <= z < 1, by Gauss's continued fraction (Abramowitz and Stegun 15.2; Lentz's
    method). SciPy's function overflows where z is near 1 and c - b large.
    """
    value, numerator, denominator = np.ones_like(z), np.ones_like(z), np.zeros_like(z)
    for number in range(MOST_TERMS):
        m = (number + 1) // 2
        above = m * (c - b + m - 1) if number % 2 else (b + m) * (c - 1 + m)
        term = -z * above / ((c + number - 1) * (c + number))
        denominator, numerator = 1 / (1 + term * denominator), 1 + term / numerator
        value = value * numerator * denominator
        if np.abs(numerator * denominator - 1).max(initial=0) < RELATIVE_ERROR:
            break
    return np.asarray(1 / value)


def _log_odds_of_having_left(parameters: Sequence[float], customers: PurchaseHistory) -> Floats:
    """[customers]: of having left between t_x and T against being there at T: `s / k (G(t_x) - G(T)) / D(T)`."""
    r, _, s, _ = parameters
    x, recency, age = customers.repeats, customers.recency, customers.age
    longer = _log_there(parameters, x, recency) - _log_there(parameters, x, age)
    before = longer + np.log(_series(parameters, x, recency))
    after = np.log(_series(parameters, x, age))
    # log(exp(before) - exp(after)); nobody has left where no time has passed
    apart = np.minimum(after - before, -1e-300)
    return np.asarray(np.log(s / (r + s + x)) + before + np.log(-np.expm1(apart)))
