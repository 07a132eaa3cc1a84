"""The null worlds are what they say: churn comes with the true probability, whatever else is known of a customer."""

import numpy as np
import pytest

from features.splits import require_purged
from tests.support.worlds.null_worlds import NULL_WORLDS, Size, null_snapshot

FINE = 5  # standard errors


@pytest.fixture(scope="module", params=NULL_WORLDS)
def world(request):
    data = null_snapshot(request.param, Size(6_000, 448, 28), 5).data
    return data, NULL_WORLDS[request.param].truth(data)


def same_rate(churn, truth, customer):
    """Whether the mean of `churn - truth` is zero but for chance, customers being independent."""
    _, unit = np.unique(customer, return_inverse=True)
    sums = np.bincount(unit, weights=churn - truth)
    return abs(sums.sum()) <= FINE * np.sqrt((sums**2).sum()) + 1e-9


def test_churn_comes_with_the_true_probability(world):
    data, truth = world
    churn = data.labels.churn[:, 0]
    assert np.isfinite(churn).all()
    assert np.ptp(truth) > 0.3
    for rows in np.array_split(np.argsort(truth, kind="stable"), 8):
        assert same_rate(churn[rows], truth[rows], data.customer_id[rows])


@pytest.mark.parametrize("column", ["days_since_last_event", "gap_last", "gap_variation", "events_total", "events_7"])
def test_nothing_else_that_is_known_moves_it(world, column):
    data, truth = world
    values = data.aggregates[column].to_numpy()
    for rows in np.array_split(np.argsort(values, kind="stable"), 4):
        assert same_rate(data.labels.churn[rows, 0], truth[rows], data.customer_id[rows])


def test_the_same_seed_makes_the_same_world():
    size = Size(50, 448, 28)
    one, again, other = (null_snapshot("bg-nbd", size, seed).data.sequences for seed in (1, 1, 2))
    assert np.array_equal(one.event_time, again.event_time)
    assert len(one.event_time) != len(other.event_time)


@pytest.mark.parametrize("name", NULL_WORLDS)
def test_there_is_a_forward_window_a_horizon_apart(name):
    snapshot = null_snapshot(name, Size(60, 448, 28), 1)
    (split,), question = snapshot.windows, snapshot.question
    require_purged(split, question)
    parts = snapshot.parts(0)
    assert len(parts.known) == (snapshot.data.cutoff < parts.test.cutoff.min()).sum()
    assert not set(parts.test.cutoff) & set(parts.known.cutoff)
