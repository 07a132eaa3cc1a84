"""The null worlds are what they say: churn comes with the true probability, whatever else is known of a customer."""

import numpy as np
import pytest

from tests.support.worlds.null_worlds import NULL_WORLDS, null_dataset

FINE = 5  # standard errors


@pytest.fixture(scope="module", params=NULL_WORLDS)
def world(request):
    null = NULL_WORLDS[request.param]
    data, _ = null_dataset(null, 6_000, (448, 28), 5)
    return data, null.truth(data)


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
    null = NULL_WORLDS["bg-nbd"]
    (one, _), (again, _), (other, _) = (null_dataset(null, 50, (448, 28), seed) for seed in (1, 1, 2))
    assert np.array_equal(one.sequences.event_time, again.sequences.event_time)
    assert len(one.sequences.event_time) != len(other.sequences.event_time)
