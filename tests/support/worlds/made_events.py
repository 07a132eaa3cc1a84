"""From moments of events to a dataset, as the project builds it: for worlds whose probabilities are known."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import build_shard
from features.question import Question
from features.time import microseconds


def built(
    customer: Integers,
    moment: pd.DatetimeIndex,
    attributes: Mapping[str, Floats],
    amount: Floats,
    asked: tuple[Question, Sequence[datetime]],
) -> Dataset:
    """The labelled examples of a question at its cutoffs (`asked`), from purchases that come in any order, each known
    at the end of its day: `customer` counts from 0, and all arrays are [events].
    """
    question, cutoffs = asked
    events = pd.DataFrame(
        {
            "event_id": [f"e{number:08d}" for number in range(len(customer))],
            "customer_id": [f"c{number:06d}" for number in customer],
            "event_time": moment,
            "known_time": moment.floor("D") + pd.Timedelta(days=1),
            "event_type": "purchase",
            "amount": amount,
            "quantity": 1.0,
            "deleted": False,
            "superseded_time": pd.Series(pd.NaT, index=range(len(customer)), dtype="datetime64[us, UTC]"),
            **attributes,
        }
    )
    until = cutoffs[-1] + timedelta(days=question.longest_reach + 1)
    table = pa.Table.from_pandas(events.sort_values(list(ORDER)), preserve_index=False)
    moments = np.array([microseconds(cutoff) for cutoff in cutoffs])
    request = BuildRequest(moments, question.spec(dict.fromkeys(attributes, "numeric")), microseconds(until))
    return together([build_shard(table, request)], question.horizons)


def moments_after(start: datetime, days: Floats) -> pd.DatetimeIndex:
    """`days` after `start`, to the second."""
    seconds = pd.to_timedelta((days * 86_400).round(), unit="s").as_unit("us")
    return pd.DatetimeIndex(pd.Timestamp(start).as_unit("us") + seconds)
