"""Buy till you die: a customer purchases at a rate of his own until he leaves for good, unseen. What such models share;
`bg_nbd` and `pareto_nbd` say how rates and leaving vary.

All that they read of a customer is the number x of repeat purchases, the time t_x from the first purchase to the last,
and the age T, from the first purchase to now (Schmittlein, Morrison & Colombo 1987).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.sequences.gaps import ends_of_knowledge
from features.time import MICROSECONDS_A_DAY
from models.base import Family, Model, OnEpoch, Predictions, View
from models.labels import observed_labels, observed_values
from models.numerics import logit, ordered_by_horizon

COLUMNS = ("active_days_total", "days_since_last_event", "days_since_first_event")
AGES_A_UNIT = 30.0  # units of time in the mean age, in which parameters are near 1
WIDEST = 5.0  # the logarithm of a parameter, in those units, lies within plus or minus this
PRECISE = {"ftol": 1e-13, "gtol": 1e-7, "maxiter": 500}


@dataclass(frozen=True)
class PurchaseHistory:
    """All [customers], times in one unit. A purchase is a day with an event, so that what belongs to one occasion
    counts once.
    """

    repeats: Floats  # x, days with an event after the first
    recency: Floats  # t_x, 0 where there is no repeat
    age: Floats  # T

    @classmethod
    def of_examples(cls, aggregates: pd.DataFrame) -> Self:
        """At each example's cutoff, in days."""
        days, silence, age = (aggregates[name].to_numpy(np.float64) for name in COLUMNS)
        repeats = np.maximum(days - 1, 0)
        return cls(repeats, np.where(repeats > 0, np.clip(age - silence, 0, age), 0.0), age)

    @classmethod
    def of_customers(cls, data: Dataset) -> Self:
        """Of each history that an example of `data` sees, up to the end of what its labels know, in whole days: one row
        a customer, whether eligible at the end or long gone.
        """
        sequences, until = data.sequences, ends_of_knowledge(data)
        history = np.repeat(np.arange(len(until)), sequences.lengths)
        visible = sequences.event_time < until[history]
        day, owner = sequences.event_time[visible] // MICROSECONDS_A_DAY, history[visible]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        another = (np.diff(day, prepend=-1) != 0) | (np.diff(owner, prepend=-1) != 0)
        days = np.add.reduceat(another.astype(np.int64), first)
        last = np.append(first[1:], len(day)) - 1
        age = np.ceil(until[owner[first]] / MICROSECONDS_A_DAY) - day[first]
        recency = (day[last] - day[first]).astype(np.float64)
        return cls((days - 1).astype(np.float64), recency, age.astype(np.float64))

    def scaled(self, unit: float) -> Self:
        return type(self)(self.repeats, self.recency / unit, self.age / unit)

    def later(self, time: float) -> Self:
        """The same customers that much later, if nothing has come."""
        return type(self)(self.repeats, self.recency, self.age + time)


class BuyTillYouDie(Model):
    """Four positive parameters, by maximum likelihood on the training examples' customers. Churn within a horizon is no
    purchase in it. With `L(x, t_x, T)` the likelihood of a history, it has probability `L(x, t_x, T + h) / L(x, t_x,
    T)`, whatever the model: who purchases nothing until T + h had purchased nothing until T. Expected purchases are
    brought to the total of the training labels by a factor, since a day may have several; they are not expected where
    no event has an amount. It expects no spend, and takes every event for a purchase.
    """

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    seeded: ClassVar[bool] = False
    factors: list[float] | None  # None where no purchase is expected
    names: ClassVar[tuple[str, ...]]  # of the four, in the order of the paper
    times: ClassVar[tuple[str, ...]]  # those that are times

    @classmethod
    @abstractmethod
    def log_likelihood(cls, parameters: Sequence[float], customers: PurchaseHistory) -> Floats:
        """[customers], up to a constant."""

    @classmethod
    @abstractmethod
    def expected_purchases(cls, parameters: Sequence[float], customers: PurchaseHistory, time: float) -> Floats:
        """[customers]: the mean number of purchases in `(T, T + time]`."""

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        labels = observed_labels(train.labels)
        self.estimates = self.estimated(PurchaseHistory.of_customers(train))
        self.factors = [1.0] * len(self.horizons)
        if not observed_values(labels):  # no event has an amount, so none is told to be a purchase
            self.factors = None
            return
        purchases = self._predict(train).expected_purchases
        assert purchases is not None
        observed = np.isfinite(labels.purchases)
        expected = np.where(observed, purchases, 0).sum(0)
        total = np.where(observed, np.maximum(labels.purchases, 0), 0).sum(0)
        self.factors = np.divide(total, expected, out=np.ones_like(total), where=expected > 0).tolist()

    @classmethod
    def estimated(cls, customers: PurchaseHistory) -> dict[str, float]:
        """The parameters of maximum likelihood, in the unit of time that `customers` have."""
        from scipy.optimize import minimize

        unit = float(customers.age.mean()) / AGES_A_UNIT
        arrays = (customers.repeats, customers.recency / unit, customers.age / unit)
        rows, counts = np.unique(np.column_stack(arrays), axis=0, return_counts=True)
        alike = PurchaseHistory(*rows.T)

        def loss(logarithms: Floats) -> float:
            parameters: list[float] = np.exp(logarithms).tolist()
            return -float(np.average(cls.log_likelihood(parameters, alike), weights=counts))

        start, bounds = np.zeros(len(cls.names)), [(-WIDEST, WIDEST)] * len(cls.names)
        best = minimize(loss, start, method="L-BFGS-B", jac="3-point", bounds=bounds, options=PRECISE)
        scale = [unit if name in cls.times else 1.0 for name in cls.names]
        return dict(zip(cls.names, (np.exp(best.x) * scale).tolist(), strict=True))

    def _predict(self, data: Dataset) -> Predictions:
        customers, parameters = PurchaseHistory.of_examples(data.aggregates), list(self.estimates.values())
        churn = np.column_stack([self._no_purchase(customers, horizon) for horizon in self.horizons])
        churn = ordered_by_horizon(churn, self.horizons)
        if self.factors is None:
            return Predictions(churn)
        purchases = [self.expected_purchases(parameters, customers, horizon) for horizon in self.horizons]
        return Predictions(churn, np.maximum(np.column_stack(purchases), 0) * self.factors)

    def survival(self, data: Dataset, days: Integers) -> Floats:
        customers = PurchaseHistory.of_examples(data.aggregates)
        return np.column_stack([self._no_purchase(customers, day) for day in days.tolist()])

    def _no_purchase(self, customers: PurchaseHistory, time: float) -> Floats:
        """[customers]: the probability of no purchase in `(T, T + time]`."""
        now, then = (
            self.log_likelihood(list(self.estimates.values()), each) for each in (customers, customers.later(time))
        )
        return np.asarray(np.exp(np.minimum(then - now, 0)))

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame:
        """The exact Shapley values of the three columns that are read, from the median of `baseline`."""
        horizon, names = self.horizons[horizon_index], list(COLUMNS)
        rows, typical = data.aggregates[names].reset_index(drop=True), baseline.aggregates[names].median()
        values, orders = pd.DataFrame(0.0, rows.index, names), list(permutations(names))
        for order in orders:
            mixed = pd.DataFrame({name: np.full(len(rows), typical[name]) for name in names})
            before = logit(self._no_purchase(PurchaseHistory.of_examples(mixed), horizon))
            for name in order:
                mixed[name] = rows[name]
                after = logit(self._no_purchase(PurchaseHistory.of_examples(mixed), horizon))
                values[name] += (after - before) / len(orders)
                before = after
        return values

    def _save(self, folder: Path) -> dict[str, Any]:
        return {"estimates": self.estimates, "factors": self.factors}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self.estimates, self.factors = content["estimates"], content["factors"]
