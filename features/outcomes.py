"""What happened after the cutoff, of examples whose customer's history is shared, from sums by segment: the columns of
`examples.labels`, equal to the last bit.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregates.grid import SECONDS_A_DAY
from features.aggregates.segment_sums import Segments
from features.dataset import Integers, texts
from features.question import Question

Column = NDArray[Any]


def outcomes(
    sums: Segments, who: Integers, cutoff: datetime, question: Question, labelled_until: datetime
) -> dict[str, Column]:
    """`churn_H, purchases_H, spend_H` of the customers `who` over `[cutoff + gap, cutoff + gap + H days)`, NaN where
    that ends after `labelled_until`; and the next event, where it is asked for.
    """
    begin = cutoff + timedelta(days=question.gap)
    opens = sums.end(begin)[who]
    back, bought, spent = "back", "back_purchases", "back_spend"
    if question.counts_every_event:
        back, bought, spent = "events", "purchases", "sum_amount"
    gone: Column = np.zeros(len(who))
    if question.ends_with:
        # Who ended within the gap cannot end in the horizon, and is not there to stay either.
        gone = np.where(sums.total("ends", sums.end(cutoff)[who], opens) > 0, np.nan, 0.0)
    columns: dict[str, Column] = {}
    for days in question.horizons:
        over = begin + timedelta(days=days)
        closes = sums.end(over)[who]
        observed = 0.0 if over <= labelled_until else np.nan
        if question.ends_with:
            churn = (sums.total("ends", opens, closes) > 0) + gone
        else:
            churn = (sums.total(back, opens, closes) == 0).astype(float)
        columns[f"churn_{days}"] = churn + observed
        columns[f"purchases_{days}"] = sums.total(bought, opens, closes) + observed
        columns[f"spend_{days}"] = sums.money(spent, opens, closes) + observed
    if question.next_event:
        over = cutoff + timedelta(days=question.longest_reach)
        found = sums.next_row("next_second", opens, sums.end(over)[who])
        there = found >= 0
        waited = sums.at("next_second", found) - (int(cutoff.timestamp()) + question.gap * SECONDS_A_DAY)
        columns["next_event_days"] = np.where(there, waited / SECONDS_A_DAY, np.nan)
        columns["next_event_type"] = texts(sums.words("next_type", found), there)
    return columns
