"""Who is eligible at a cutoff, and where they stand, from carried state; without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import Integers
from features.dataset import Dataset, Sequences
from features.eligibility import is_eligible
from features.sequences.encoding import StateAtCutoff
from features.time import MICROSECONDS_A_SECOND, day_number, microseconds
from pipeline.scoring.checkpoints import Checkpoints
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.shard import StateShard
from pipeline.training.registry import Version


@dataclass(frozen=True)
class QueryShard:
    """The customers of one shard who are eligible at the cutoff, in order of customer_id, and those who are not, with
    the time of their last event. Times are in microseconds since 1970 in UTC.
    """

    customers: pa.Array
    rows: Integers  # [customers], their rows in the shard
    at_cutoff: StateAtCutoff
    aggregates: pd.DataFrame | None  # [customers, features], where the shard has sums
    recent: tuple[Integers, Integers] | None  # offsets [customers + 1] and times of the last events, where carried
    not_eligible: pa.Array
    not_eligible_last: Integers

    @classmethod
    def of(cls, shard: StateShard, cutoff: datetime, inputs: ScoringInputs) -> "QueryShard":
        at, aggregates = microseconds(cutoff), None
        if shard.sums is not None:
            rows, aggregates = shard.sums.aggregates(day_number(cutoff), inputs.spec)
        else:
            active, ended = shard.active // MICROSECONDS_A_SECOND, shard.ended // MICROSECONDS_A_SECOND
            second = at // MICROSECONDS_A_SECOND
            rows = np.flatnonzero(is_eligible(active, ended, second, inputs.question.active_within))
        others = np.ones(len(shard.customers), bool)
        others[rows] = False
        return cls(
            customers=shard.customers.take(pa.array(rows)),
            rows=rows,
            at_cutoff=StateAtCutoff(np.full(len(rows), at), shard.first[rows], shard.last[rows], shard.events[rows]),
            aggregates=aggregates,
            recent=None if shard.recent is None else shard.recent.of(rows),
            not_eligible=shard.customers.filter(pa.array(others)),
            not_eligible_last=shard.last[others],
        )


def dataset_without_histories(queries: Sequence[QueryShard], horizons: tuple[int, ...]) -> Dataset:
    """The eligible customers as a `Dataset`, for models that read aggregates or recency and for reasons. Its
    `sequences` are no histories: they hold the times of each customer's last events and no other column, so that
    lengths, first events and everything else read from them would be wrong. There are no labels.
    """
    recent = [query.recent for query in queries if query.recent is not None]
    lengths = np.concatenate([np.diff(offsets) for offsets, _ in recent])
    recent_times = Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        event_time=np.concatenate([time for _, time in recent]),
        numeric={},
        categorical={},
        history=np.arange(len(lengths)),
        length=lengths,
    )
    return Dataset(
        horizons=horizons,
        customer_id=np.asarray(pa.concat_arrays([query.customers for query in queries]).to_pylist(), dtype=object),
        cutoff=np.concatenate([query.at_cutoff.cutoff for query in queries]),
        aggregates=pd.concat([query.aggregates for query in queries], ignore_index=True),
        sequences=recent_times,
        labels=None,
    )


def carried_aggregates(
    inputs: ScoringInputs, version: Version, cutoff: datetime, customers: pa.Array
) -> pd.DataFrame | None:
    """The aggregates of those of `customers` who are eligible at `cutoff`, in order of customer_id, from the sums that
    `version` carries; None where it carries none of that cutoff, or the store has changed since.
    """
    checkpoint = Checkpoints(inputs.state, version).of_cutoff(cutoff, inputs.store.digests(cutoff))
    if checkpoint is None:
        return None
    tables = []
    for number in checkpoint.plan.shards:
        if not StateShard.has_sums(checkpoint.folder, number):
            return None
        query = QueryShard.of(StateShard.read(checkpoint.folder, number, inputs.spec.categorical), cutoff, inputs)
        assert query.aggregates is not None
        tables.append(query.aggregates[pc.is_in(query.customers, customers).to_numpy(zero_copy_only=False)])
    return pd.concat(tables, ignore_index=True)
