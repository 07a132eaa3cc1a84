"""The labels of all examples of a shard: as known at last, and as they were known at earlier moments.

A label that is learnt from, or judged by, must be one that could be known then: an event that arrives later may change
it. So a training asks for the labels as of the moment at which each part of a split ends.
"""

import numpy as np
import pyarrow as pa

from features.aggregates.time_bins import TimeBins
from features.aggregates.totals import RunningTotals
from features.arrays import Integers
from features.dataset import EarlierLabels, Labels
from features.examples.known_events import KnownEvents
from features.examples.request import BuildRequest, Examples
from features.examples.revisions import Revisions
from features.labels import labels_at


def labels_of(
    totals: RunningTotals, history: Integers, cutoff: Integers, request: BuildRequest, known_until: int
) -> Labels:
    """The labels of examples in ascending order of `cutoff` [examples], positions among the request's; `history`
    [examples] are positions among the totals' customers, -1 for a customer of whom no event is known any more. Such a
    one never existed, by what is known when labels are made (an anonymous id that became an account, an erased order),
    and has no label.
    """
    bounds = np.searchsorted(cutoff, np.arange(len(request.cutoffs) + 1))
    labels = Labels.concat(
        labels_at(totals, history[first:last], int(moment), request.spec, known_until)
        for moment, first, last in zip(request.cutoffs, bounds[:-1], bounds[1:], strict=True)
    )
    gone = history < 0
    return labels.without(gone) if gone.any() else labels


def earlier_labels(
    revisions: Revisions, examples: Examples, labels: Labels, bins: TimeBins, request: BuildRequest
) -> EarlierLabels:
    """Where the labels known at any of the request's `label_moments` were others than `labels`, those of the examples
    as known at last, cut off at that moment. Examples come in order of their cutoffs.
    """
    spec, moments = request.spec, request.label_moments
    customers, moment = revisions.contradicted(moments)
    entries: list[tuple[int, Integers, Labels]] = []
    for number in np.unique(moment).tolist():
        until, theirs = int(moments[number]), customers[moment == number]
        rows, lengths = revisions.seen(theirs, np.full(len(theirs), until))
        known = KnownEvents.of(revisions.table.take(pa.array(rows)), lengths[lengths > 0], spec)
        history = np.full(len(revisions.customers), -1)
        history[theirs[lengths > 0]] = np.arange(np.sum(lengths > 0))
        example = np.flatnonzero(np.isin(examples.customer, theirs) & (request.cutoffs[examples.cutoff] < until))
        owner, cutoff = history[examples.customer[example]], examples.cutoff[example]
        then = labels_of(known.totals(bins), owner, cutoff, request, until)
        last = labels.select(example).known_by(request.cutoffs[cutoff], spec.gap, spec.horizons, until)
        others = np.flatnonzero(then.differs(last))
        entries.append((until, example[others], then.select(others)))
    nothing = labels.select(np.zeros(0, np.int64))
    return EarlierLabels(
        moment=np.concatenate([np.zeros(0, np.int64), *(np.full(len(rows), until) for until, rows, _ in entries)]),
        example=np.concatenate([np.zeros(0, np.int64), *(rows for _, rows, _ in entries)]),
        labels=Labels.concat([nothing, *(then for *_, then in entries)]),
    )
