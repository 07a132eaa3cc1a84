"""What happened after a cutoff: the labels of examples, from running totals of the events known at one moment."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregates.totals import RunningTotals
from features.arrays import Integers
from features.dataset import Labels, texts
from features.spec import FeatureSpec
from features.time import MICROSECONDS_A_DAY, MICROSECONDS_A_SECOND, SECONDS_A_DAY


def labels_at(totals: RunningTotals, customer: Integers, cutoff: int, spec: FeatureSpec, known_until: int) -> Labels:
    """The labels at `cutoff` of `customer` [examples], positions among the totals' customers, or -1 for one of whom no
    event is in them. They look at `[cutoff + gap, cutoff + gap + H days)`, by the events known at `known_until`, all of
    which are in `totals`; NaN where that ends after `known_until`. Times are in microseconds.

    Churn is no return, or an end where the question names such; NaN for who ended within the gap: nothing is left to
    happen. A purchase is a return with an amount; spend is the sum of these amounts.
    """
    begin = cutoff + spec.gap * MICROSECONDS_A_DAY
    opens = _end(totals, customer, begin)
    back, bought, spent = "back", "back_purchases", "back_spend"
    if not totals.has(back):  # every event is a return
        back, bought, spent = "events", "purchases", "sum_amount"
    gone = np.zeros(len(customer))
    if spec.ends_with:
        gone[totals.total("ends", _end(totals, customer, cutoff), opens) > 0] = np.nan
    churn, purchases, spend = (np.empty((len(customer), len(spec.horizons))) for _ in range(3))
    for column, days in enumerate(spec.horizons):
        over = begin + days * MICROSECONDS_A_DAY
        closes = _end(totals, customer, over)
        observed = 0.0 if over <= known_until else np.nan
        churned = totals.total("ends", opens, closes) > 0 if spec.ends_with else totals.total(back, opens, closes) == 0
        churn[:, column] = churned + gone + observed
        purchases[:, column] = totals.total(bought, opens, closes) + observed
        spend[:, column] = totals.money(spent, opens, closes) + observed
    if not spec.next_event:
        return Labels(churn, purchases, spend)
    over = cutoff + spec.longest_reach * MICROSECONDS_A_DAY
    following = totals.next_row("next_second", opens, _end(totals, customer, over))
    waited = _seconds(totals, following) - begin // MICROSECONDS_A_SECOND
    words = texts(totals.texts("next_type", following), following >= 0)
    return Labels(churn, purchases, spend, waited / SECONDS_A_DAY, words)


def _end(totals: RunningTotals, customer: Integers, moment: int) -> Integers:
    """[examples]: the number of rows up to each customer's last one before `moment`; 0 for customers without any."""
    if not len(totals.customers):
        return np.zeros(len(customer), np.int64)
    return np.where(customer >= 0, totals.end(moment)[customer], 0)


def _seconds(totals: RunningTotals, rows: Integers) -> NDArray[Any]:
    if not len(totals.customers):
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, totals.at("next_second", rows), np.nan)
