"""Who is eligible at a cutoff, and who is not, from whole histories: what training builds, without labels."""

from datetime import datetime

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.grid import SECONDS_A_DAY
from features.aggregates.segments import before
from features.build import build_dataset
from features.dataset import Dataset, Floats
from features.examples import included
from pipeline.event_store.night_events import NightEvents, as_revisions
from pipeline.runtime.engine import session
from pipeline.scoring.inputs import ScoringInputs


def read_examples(inputs: ScoringInputs, cutoff: datetime, customers: pa.Array | None = None) -> Dataset:
    """Every customer eligible at `cutoff`, or those of `customers` who are, by what was known then, without labels."""
    store, question = inputs.store, inputs.question
    store.require_loaded(cutoff)
    if customers is not None:
        with session(inputs.state) as connection:
            events = NightEvents(store, question, cutoff, connection).of_customers(customers)
            connection.register("arrived", as_revisions(events, cutoff))
            connection.execute("create temp table revisions as select * from arrived")
            revisions = ibis.duckdb.from_connection(connection).table("revisions")
            return build_dataset(revisions, [cutoff], question, store.attributes)
    backend = inputs.connect()
    try:
        return build_dataset(store.as_of(backend, cutoff), [cutoff], question, store.attributes)
    finally:
        backend.disconnect()


def read_not_eligible(inputs: ScoringInputs, cutoff: datetime, eligible: pa.Array) -> tuple[pa.Array, Floats]:
    """The customers known at `cutoff` and not excluded, who are not `eligible`, in order, and the days since their
    last event.
    """
    backend = inputs.connect()
    try:
        events = before(included(inputs.store.as_of(backend, cutoff), inputs.question), cutoff)
        last = events.group_by("customer_id").aggregate(second=events.event_time.max().epoch_seconds())
        customers = last.order_by("customer_id").to_pyarrow()
    finally:
        backend.disconnect()
    others = customers.filter(pc.invert(pc.is_in(customers["customer_id"].cast(pa.string()), eligible)))
    recency = (int(cutoff.timestamp()) - others["second"].to_numpy()) / SECONDS_A_DAY
    return others["customer_id"].cast(pa.string()).combine_chunks(), recency
