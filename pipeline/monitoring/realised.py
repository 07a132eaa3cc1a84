"""What really happened to scored customers: who churned, who received a treatment, and which segment each was in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.time_bins import TimeBins
from features.arrays import Floats
from features.examples.known_events import KnownEvents
from features.examples.revisions import ORDER, Revisions
from features.labels import labels_at
from features.question import Question
from features.roles import is_treatment
from features.sequences.histories import positions
from features.time import MICROSECONDS_A_SECOND, microseconds
from pipeline.datasets.cut import COLUMNS
from pipeline.event_store.store import AsOf, EventStore
from pipeline.runtime.engine import literal, quoted, session
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.paths import StateFolder
from pipeline.sources.contract import EventSource


@dataclass(frozen=True)
class Closed:
    """A horizon of so many days after the gap that follows `cutoff`, as the events are known at `known_at`."""

    cutoff: datetime
    days: int
    known_at: datetime


@dataclass(frozen=True)
class Realised:
    """Of one score date and horizon."""

    customers: pa.Array  # who had an event since the cutoff, ascending
    labels: Floats  # [customers], 1 where they churned; NaN where there is no telling
    of_nobody: float  # the label of who had none
    treated: set[str]  # customers who received a treatment from the cutoff to the horizon's end
    gone: set[str]  # customers of whom no event is known any more: they never existed

    def churn(self, customers: Sequence[str]) -> Floats:
        """Who of `customers` churned, as the question has it; NaN where there is no telling."""
        place = positions(pa.array(list(customers), pa.string()), self.customers)
        churn = np.append(self.labels, self.of_nobody)[place]  # -1 is the last
        churn[[customer in self.gone for customer in customers]] = np.nan
        return churn


def realised(store: EventStore, state: StateFolder, question: Question, closed: Closed) -> Realised:
    """What happened in a horizon, by the function that labels examples, so that review and training mean the same."""
    spec = replace(question.spec(store.attributes), horizons=(closed.days,), next_event=False)
    start = microseconds(closed.cutoff)
    bins = TimeBins.of(np.array([start]), (spec.gap, spec.gap + closed.days))
    columns = ", ".join(quoted(name) for name in dict.fromkeys((*COLUMNS, *store.attributes)))
    end = f"to_timestamp({int(bins.boundaries[-1]) // MICROSECONDS_A_SECOND})"
    events = f"({store.as_of(closed.known_at, since=closed.cutoff).in_duckdb})"
    query = f"select {columns} from {events} where event_time < {end} order by {', '.join(ORDER)}"
    with session(state) as connection:
        table = connection.sql(query).to_arrow_table()
    revisions = Revisions.of(table, spec)
    current = np.flatnonzero(revisions.current)
    customer, lengths = np.unique(revisions.customer[current], return_counts=True)
    known = KnownEvents.of(revisions.table.take(pa.array(current)), lengths, replace(spec, numeric=(), categorical=()))
    histories = np.append(np.arange(len(customer)), -1)
    labels = labels_at(known.totals(bins), histories, start, spec, microseconds(closed.known_at)).churn[:, 0]
    mailed = known.events["customer_id"].filter(pa.array(is_treatment(known.events["event_type"], spec)))
    return Realised(
        customers=revisions.customers.take(pa.array(customer)).cast(pa.string()),
        labels=labels[:-1],
        of_nobody=float(labels[-1]),
        treated=set(pc.unique(mailed).to_pylist()),
        gone=_gone(store.as_of(closed.known_at), state),
    )


def _gone(events: AsOf, state: StateFolder) -> set[str]:
    """Customers all of whose events were corrected to be another's, or deleted."""
    if not events.corrected:
        return set()
    current = "bool_or(superseded_time is null and not deleted)"
    with session(state) as connection:
        rows = connection.execute(f"select customer_id from ({events.in_duckdb}) group by 1 having not {current}")
        return {customer for (customer,) in rows.fetchall()}


def treated_by_the_source(source: EventSource, types: Collection[str], start: datetime, end: datetime) -> set[str]:
    """Customers who received a treatment of `types` in `[start, end)` of which the source knows beside its events."""
    treated = getattr(source, "treated", None)
    return treated(types, start, end) if treated else set()


def segments_of(
    store: EventStore, state: StateFolder, names: Sequence[str], cutoff: datetime
) -> dict[str, dict[str, str]]:
    """Attribute -> customer -> its value in the last event before `cutoff`, as known then. Raises ConfigurationError
    where one of `names` is no categorical attribute.
    """
    for name in names:
        if store.attributes.get(name) != "categorical":
            known = ", ".join(each for each, kind in store.attributes.items() if kind == "categorical") or "none"
            raise ConfigurationError(f"review.segments: {name!r} is no categorical attribute: there are {known}")
    if not names:
        return {}
    at = f"timestamptz {literal(f'{cutoff:%Y-%m-%d %H:%M:%S}+00')}"
    seen = f"event_time < {at} and superseded_time is null and not deleted"
    last = "row_number() over (partition by customer_id order by event_time desc, event_id desc) = 1"
    columns = ", ".join(f"coalesce({quoted(name)}, 'none')" for name in names)
    query = f"select customer_id, {columns} from ({store.as_of(cutoff).in_duckdb}) where {seen} qualify {last}"
    with session(state) as connection:
        rows = connection.execute(query).fetchall()
    return {name: {row[0]: row[1 + place] for row in rows} for place, name in enumerate(names)}
