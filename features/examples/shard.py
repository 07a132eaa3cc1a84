"""From the sorted revisions of some customers to their examples: the one function that runs wherever the events lie, in
this process or on an engine's executors. It imports NumPy and Arrow, and nothing of the pipeline.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.aggregates.definitions import WINDOWS, definitions
from features.aggregates.rows import example_rows
from features.aggregates.time_bins import TimeBins
from features.arrays import Floats, Integers
from features.dataset import EarlierLabels, Labels, Sequences
from features.examples.contradicted import with_contradicted
from features.examples.known_events import KnownEvents
from features.examples.request import BuildRequest, Examples
from features.examples.revisions import Revisions
from features.label_moments import earlier_labels, labels_of


@dataclass(frozen=True, eq=False)
class ShardExamples:
    """The examples of some customers, in order of (cutoff, customer_id). `customers` are all who have a current event
    before the last cutoff, ascending, eligible or not, and `last_event` the seconds of their last ones.
    """

    customer_id: pa.Array  # [examples]
    cutoff: Integers  # [examples], microseconds since 1970 in UTC
    aggregates: dict[str, Floats]  # in the order of `definitions`, [examples]
    sequences: Sequences
    labels: Labels | None
    earlier: EarlierLabels | None
    customers: pa.Array
    last_event: Integers

    @property
    def size(self) -> "ShardSize":
        return ShardSize(self.cutoff, len(self.sequences.lengths), len(self.sequences.event_time))


@dataclass(frozen=True, eq=False)
class ShardSize:
    """What must be known of a shard to make room for it: the cutoffs of its examples, its histories and steps."""

    cutoff: Integers
    histories: int
    steps: int


def build_shard(table: pa.Table, request: BuildRequest) -> ShardExamples:
    """The examples of the customers in `table`: their revisions, the columns of an event and `superseded_time`, in the
    order of `revisions.ORDER`. Features use what was visible at each cutoff: event time < cutoff, known time <= cutoff.

    Almost every example sees a beginning of its customer's history as it is known at last, so histories and sums are
    shared between a customer's examples; `features.examples.contradicted` makes the others.
    """
    spec, cutoffs = request.spec, request.cutoffs
    revisions, bins = Revisions.of(table, spec), _bins(request)
    shared = np.flatnonzero(revisions.current & (revisions.time < bins.boundaries[-1]))
    events = revisions.table if len(shared) == len(revisions.table) else revisions.table.take(pa.array(shared))
    customer, lengths = np.unique(revisions.customer[shared], return_counts=True)
    known = KnownEvents.of(events, lengths, spec)
    owner = np.full(len(revisions.customers), -1)  # of each customer, the shared history
    owner[customer] = np.arange(len(customer))

    totals = known.totals(bins)
    rows = example_rows(totals, known.values(bins), cutoffs, spec)
    length = rows.columns["events_total"].astype(np.int64)
    examples = Examples(customer[rows.customer], rows.cutoff, rows.columns, rows.customer, length)
    examples, histories = with_contradicted(examples, revisions, shared, owner, request)
    examples = examples.select(np.lexsort((examples.customer, examples.cutoff)))

    labels = earlier = None
    if request.labelled_until is not None:
        labels = labels_of(totals, owner[examples.customer], examples.cutoff, request, request.labelled_until)
        if request.only_with_outcome:
            there = np.isfinite(labels.churn[:, spec.primary_index])
            if not there.all():
                examples, labels = examples.select(there), labels.select(there)
        earlier = earlier_labels(revisions, examples, labels, bins, request)
    end = totals.end(int(cutoffs[-1]))
    active = np.flatnonzero(end > totals.starts)
    return ShardExamples(
        customer_id=revisions.customers.take(pa.array(examples.customer)),
        cutoff=cutoffs[examples.cutoff],
        aggregates={name: examples.columns[name] for name in definitions(spec)},
        sequences=_pointed([known.histories, *histories], examples, int(cutoffs[-1])),
        labels=labels,
        earlier=earlier,
        customers=revisions.customers.take(pa.array(customer[active])),
        last_event=totals.at("last", end[active] - 1).astype(np.int64),
    )


def _bins(request: BuildRequest) -> TimeBins:
    """The windows before each cutoff and, where there are labels, the horizons after it."""
    spec = request.spec
    days = [-days for days in (*WINDOWS, spec.active_within)]
    if request.labelled_until is not None:
        days += [spec.gap, *(spec.gap + days for days in spec.horizons)]
    return TimeBins.of(request.cutoffs, days)


def _pointed(histories: list[Sequences], examples: Examples, last_cutoff: int) -> Sequences:
    """The histories that examples see, without what lies past the last cutoff, and each example's pointer."""
    used = np.zeros(sum(len(each.lengths) for each in histories), bool)
    used[examples.history] = True
    shared, own = histories[0], histories[1:]
    used[len(shared.lengths) :] = True  # they were made for examples of their own
    kept = [shared.only(used[: len(shared.lengths)], shared.event_time < last_cutoff), *own]
    history = (np.cumsum(used) - 1)[examples.history]
    return (Sequences.concat(kept) if own else kept[0]).pointed(history, examples.length)
