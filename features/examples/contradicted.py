"""Examples that a late, corrected or deleted event set apart from their customer's history as it is known at last: each
is made from what it saw, as a customer of its own.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from features.aggregates.calendar import WORDS as CALENDAR
from features.aggregates.calendar import calendar
from features.aggregates.definitions import WINDOWS
from features.aggregates.rows import example_rows
from features.aggregates.time_bins import TimeBins
from features.arrays import Integers, Mask
from features.dataset import Sequences
from features.examples.known_events import KnownEvents
from features.examples.request import BuildRequest, Examples
from features.examples.revisions import Revisions
from features.time import instant

ROWS_AT_ONCE = 4_000_000  # of all that is seen, about


def with_contradicted(
    examples: Examples, revisions: Revisions, shared: Integers, owner: Integers, request: BuildRequest
) -> tuple[Examples, list[Sequences]]:
    """`examples`, in which those that are contradicted are made anew, and the histories of those that share none.

    `shared` are the rows of the revisions of which the shared histories are made, in order; `owner` [customers] says
    which of these is a customer's, -1 for none. An example whose events are the first of its customer's shared history
    points there; the histories of all others follow after the shared ones.
    """
    customer, moment = revisions.contradicted(request.cutoffs)
    if not len(customer):
        return examples, []
    examples = examples.select(~examples.of_pairs(customer, moment))
    rank, histories, own = _ranks(revisions, shared), [], int(owner.max(initial=-1)) + 1
    for pairs in _runs(np.bincount(revisions.customer, minlength=len(revisions.customers))[customer]):
        rows, lengths = revisions.seen(customer[pairs], request.cutoffs[moment[pairs]])
        pair, seen = np.arange(pairs.start, pairs.stop)[lengths > 0], lengths[lengths > 0]
        if not len(pair):
            continue
        known = KnownEvents.of(revisions.table.take(pa.array(rows)), seen, request.spec)
        made = _aggregated(known, customer[pair], moment[pair], request)
        shares = _shares(rank[rows], known.starts, seen)[made.history]
        histories.append(known.histories.take(made.history[~shares]))
        history = owner[made.customer]
        history[~shares] = own + np.arange(np.sum(~shares))
        own += len(histories[-1].lengths)
        examples = examples.then(replace(made, history=history))
    return examples, histories


def _aggregated(known: KnownEvents, customer: Integers, moment: Integers, request: BuildRequest) -> Examples:
    """The eligible ones of some pairs, each with its own history. Seen from its cutoff every pair has the same windows,
    so that one pass makes all of them.
    """
    spec, cutoffs = request.spec, request.cutoffs[moment]
    from_cutoff = known.shifted(cutoffs)
    zero = np.zeros(1, np.int64)
    bins = TimeBins.of(zero, [-days for days in (*WINDOWS, spec.active_within)])
    totals = from_cutoff.totals(bins)
    rows = example_rows(totals, from_cutoff.values(bins), zero, spec)
    columns = rows.columns
    if spec.calendar:
        days = {cutoff: calendar(instant(cutoff)) for cutoff in np.unique(cutoffs).tolist()}
        columns |= {name: np.array([days[at][name] for at in cutoffs[rows.customer].tolist()]) for name in CALENDAR}
    length = columns["events_total"].astype(np.int64)
    return Examples(customer[rows.customer], moment[rows.customer], columns, rows.customer, length)


def _ranks(revisions: Revisions, shared: Integers) -> Integers:
    """[revisions]: the number of a row in its customer's shared history, from 0; far past any where it is not in it."""
    rank = np.full(len(revisions.table), np.iinfo(np.int64).max)
    customer = revisions.customer[shared]
    rank[shared] = np.arange(len(shared)) - np.searchsorted(customer, customer)
    return rank


def _shares(rank: Integers, starts: Integers, lengths: Integers) -> Mask:
    """[pairs]: whether the rows of a pair are the first so many of a shared history."""
    return np.asarray(np.maximum.reduceat(rank, starts) == lengths - 1)


def _runs(sizes: Integers) -> Iterator[slice]:
    """Runs of pairs that see about ROWS_AT_ONCE rows together."""
    run = np.cumsum(sizes) // ROWS_AT_ONCE
    for number in np.unique(run).tolist():
        first, last = np.searchsorted(run, [number, number + 1])
        yield slice(int(first), int(last))
