"""Who is eligible at a cutoff, and who is not, from whole histories: what training builds, without labels."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import Floats
from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.examples.shard import build_shard
from features.time import MICROSECONDS_A_SECOND, SECONDS_A_DAY, microseconds
from pipeline.event_store.night_events import NightEvents, as_revisions
from pipeline.runtime.engine import session
from pipeline.scoring.inputs import ScoringInputs


@dataclass(frozen=True)
class NightExamples:
    """Everybody eligible at a cutoff, without labels; and the other customers known then and not excluded, in order,
    with the days since their last event.
    """

    data: Dataset
    not_eligible: pa.Array
    not_eligible_recency: Floats


def read_night(inputs: ScoringInputs, cutoff: datetime) -> NightExamples:
    """By what was known at `cutoff`. Raises RecurError where the night is not loaded."""
    inputs.store.require_loaded(cutoff)
    shards = inputs.engine().shards(inputs.store.as_of(cutoff), _request(inputs, cutoff))
    customers = pa.concat_arrays([shard.customers.cast(pa.string()) for shard in shards])
    last = np.concatenate([shard.last_event for shard in shards])
    others = ~np.concatenate([np.asarray(pc.is_in(shard.customers, shard.customer_id)) for shard in shards])
    recency = (microseconds(cutoff) // MICROSECONDS_A_SECOND - last[others]) / SECONDS_A_DAY
    return NightExamples(together(shards, inputs.question.horizons), customers.filter(pa.array(others)), recency)


def read_examples(inputs: ScoringInputs, cutoff: datetime, customers: pa.Array) -> Dataset:
    """Those of `customers` who are eligible at `cutoff`, by what was known then, without labels. Raises RecurError
    where the night is not loaded.
    """
    inputs.store.require_loaded(cutoff)
    with session(inputs.state) as connection:
        events = NightEvents(inputs.store, inputs.spec, cutoff, connection).of_customers(customers)
    shard = build_shard(as_revisions(events, cutoff), _request(inputs, cutoff))
    return together([shard], inputs.question.horizons)


def _request(inputs: ScoringInputs, cutoff: datetime) -> BuildRequest:
    return BuildRequest(np.array([microseconds(cutoff)]), inputs.spec)
