"""BG/NBD: who purchases may leave right after any purchase (Fader, Hardie & Lee 2005)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from features.arrays import Floats
from models.conventional.buy_till_you_die import BuyTillYouDie, PurchaseHistory

NEAR_ONE = 1e-6  # how near a may come to 1, where the expectation is a limit


class BGNBD(BuyTillYouDie):
    """Purchases come at a rate that is gamma distributed (shape `r`, scale `1 / alpha`); after each the customer leaves
    with a probability that is beta distributed (`a`, `b`). Formulas: P. S. Fader, B. G. S. Hardie and K. L. Lee,
    "Counting your customers the easy way: an alternative to the Pareto/NBD model", Marketing Science 24 (2005), 275.
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")
    times: ClassVar[tuple[str, ...]] = ("alpha",)

    @classmethod
    def log_likelihood(cls, parameters: Sequence[float], customers: PurchaseHistory) -> Floats:
        """Their equation (6): still there at T, or left at t_x."""
        from scipy.special import betaln, gammaln

        r, alpha, a, b = parameters
        x, age = customers.repeats, customers.age
        shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
        there = -(r + x) * np.log(alpha + age)
        return np.asarray(shared + there + np.logaddexp(0, cls._log_odds_of_having_left(parameters, customers)))

    @classmethod
    def expected_purchases(cls, parameters: Sequence[float], customers: PurchaseHistory, time: float) -> Floats:
        """Their equation (10). By Euler's transformation the hypergeometric function's parameters do not grow with x:
        `F(r + x, b + x; c; z) = (1 - z)^(a - 1 - r - x) F(a + b - 1 - r, a - 1; c; z)`, `c = a + b + x - 1`.
        """
        from scipy.special import hyp2f1

        r, alpha, a, b = parameters
        if abs(a - 1) < NEAR_ONE:
            a = 1 + NEAR_ONE
        x, age = customers.repeats, customers.age
        z = time / (alpha + age + time)
        series = hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
        with np.errstate(over="ignore", invalid="ignore"):
            if_there = (a + b + x - 1) / (a - 1) * (1 - (1 - z) ** (a - 1) * series)
        # Never more than who cannot leave; NaN, where z is 1 but for rounding, gives way to that.
        if_there = np.fmin(np.fmax(if_there, 0), (r + x) / (alpha + age) * time)
        return np.asarray(if_there * np.exp(-np.logaddexp(0, cls._log_odds_of_having_left(parameters, customers))))

    @staticmethod
    def _log_odds_of_having_left(parameters: Sequence[float], customers: PurchaseHistory) -> Floats:
        """[customers]: of having left at t_x against being there at T; nobody leaves before a repeat purchase."""
        r, alpha, a, b = parameters
        x, silence = customers.repeats, customers.age - customers.recency
        again = x > 0
        gain = (r + x) * np.log1p(silence / (alpha + customers.recency))
        return np.where(again, np.log(a) - np.log(np.where(again, b + x - 1, 1.0)) + gain, -np.inf)
