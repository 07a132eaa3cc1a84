"""A sample of what is carried, held against the same computed anew from whole histories."""

import numpy as np
import pyarrow as pa

from features.sequences.histories import positions
from models.base import Model
from pipeline.event_store.night_events import NightEvents, split_at
from pipeline.runtime.engine import session
from pipeline.scoring.checkpoints import Checkpoint, Checkpoints
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.query import QueryShard
from pipeline.scoring.shard import TIMES, StateShard
from pipeline.scoring.shard_updater import ShardUpdater
from pipeline.training.registry import Version

SAMPLE = 200  # customers
TOLERANCE = 1e-4  # of a state: batches of another shape round otherwise


def differing(inputs: ScoringInputs, version: Version, model: Model, sample: int = SAMPLE) -> tuple[int, list[str]]:
    """Of about `sample` customers of the last checkpoint that `version` may go on from, evenly spread: how many there
    are, and the ids of those who are carried otherwise than their whole histories give.
    """
    complete = Checkpoints(inputs.state, version).complete()
    usable = [each for each in complete if each.plan.objects == inputs.store.digests(each.cutoff)]
    if not usable:
        return 0, []
    checkpoint, stepper = usable[-1], model.stepper()
    has_sums = "aggregates" in model.views or stepper is None
    updater, width = ShardUpdater(inputs.spec, stepper, has_sums), stepper.width if stepper else 0
    a_shard = -(-sample // len(checkpoint.plan.shards))
    compared, wrong = 0, list[str]()
    with session(inputs.state) as connection:
        events = NightEvents(inputs.store, inputs.spec, checkpoint.cutoff, connection)
        for number in checkpoint.plan.shards:
            carried = StateShard.read(checkpoint.folder, number, inputs.spec.categorical if has_sums else None)
            chosen = np.unique(np.linspace(0, len(carried.customers) - 1, a_shard, dtype=np.int64))
            customers = carried.customers.take(pa.array(chosen[chosen >= 0]))
            past, pending = split_at(events.of_customers(customers), checkpoint.cutoff)
            anew = updater.advance(StateShard.empty(width, pending.cast(events.schema)), past, checkpoint.cutoff)
            same = _same(carried, anew, customers) & _same_aggregates(carried, anew, customers, checkpoint, inputs)
            compared += len(customers)
            wrong += customers.filter(pa.array(~same)).to_pylist()
    return compared, wrong


def _same(carried: StateShard, anew: StateShard, customers: pa.Array) -> np.ndarray:
    """For each of `customers`, whether both shards hold the same states and times of theirs."""
    ours, theirs = positions(customers, carried.customers), positions(customers, anew.customers)
    there = theirs >= 0
    same = there.copy()
    for name in ("events", *TIMES):
        same[there] &= getattr(carried, name)[ours[there]] == getattr(anew, name)[theirs[there]]
    states = np.isclose(carried.states[ours[there]], anew.states[theirs[there]], rtol=TOLERANCE, atol=TOLERANCE)
    same[there] &= states.all(axis=1)
    return same


def _same_aggregates(
    carried: StateShard, anew: StateShard, customers: pa.Array, checkpoint: Checkpoint, inputs: ScoringInputs
) -> np.ndarray:
    """For each of `customers`, whether both give the same aggregates, to the last digit."""
    same = np.ones(len(customers), bool)
    if carried.sums is None or anew.sums is None:
        return same
    tables = []
    for shard in (carried, anew):
        query = QueryShard.of(shard, checkpoint.cutoff, inputs)
        assert query.aggregates is not None
        tables.append(query.aggregates.set_index(query.customers.to_numpy(zero_copy_only=False)))
    ids = customers.to_numpy(zero_copy_only=False)
    first, second = (table.reindex(ids).to_numpy(dtype=object) for table in tables)
    equal = (first == second) | (np.equal(first, first) == 0) & (np.equal(second, second) == 0)
    return same & np.asarray(equal, bool).all(axis=1)
