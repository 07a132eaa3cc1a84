"""The planted worlds are what they say: known probabilities, labels drawn from them, and nothing given away."""

import numpy as np
import pytest

from tests.support.worlds.planted_worlds import CUTOFF, WORLDS, Groups, planted, planted_snapshot, share_of_gain

QUICK = [name for name in WORLDS if name not in ("signal-100-back", "signal-1000-back", "regularity-in-bursts")]


@pytest.fixture(scope="module", params=QUICK)
def world(request):
    return request.param, *planted(request.param, 600, 3)


def test_labels_are_drawn_from_the_true_probability(world):
    _, data, truth = world
    assert len(data) == 600
    assert data.labels.churn.mean() == pytest.approx(truth.mean(), abs=0.06)
    if np.ptp(truth) > 0.1:
        assert np.corrcoef(data.labels.churn[:, 0], truth)[0, 1] > 0.3


def test_every_example_sees_its_history_and_not_the_return(world):
    _, data, _ = world
    assert (data.sequences.event_time[data.sequences.last_step] < CUTOFF.timestamp() * 1e6).all()
    assert (data.aggregates["events_total"] == data.sequences.length).all()


def test_counts_tell_nothing_where_the_pattern_is_in_time(world):
    name, data, truth = world
    if name == "growing-gaps":
        assert data.aggregates["events_total"].nunique() == 1
    if name in ("which-came-last", "signal-10-back"):
        assert abs(np.corrcoef(data.aggregates["a_91"], truth)[0, 1]) < 0.4


def test_the_share_is_one_for_the_truth_and_none_for_the_base_rate():
    truth = np.array([0.1, 0.9, 0.5])
    assert share_of_gain(truth, truth) == pytest.approx(1)
    assert share_of_gain(np.full(3, 0.5), truth) == pytest.approx(0)
    assert np.isnan(share_of_gain(np.full(3, 0.3), np.full(3, 0.3)))


def test_each_part_of_a_forward_window_has_customers_of_its_own():
    snapshot, truth = planted_snapshot("regularity", Groups(300, 40, 50, 600), 3)
    parts = snapshot.parts(0)
    sizes = [len(data) for data in (parts.train, parts.valid, parts.calibrate, parts.test)]
    assert sizes == [300, 40, 50, 600]
    assert len(set(snapshot.data.customer_id)) == len(snapshot.data) == sum(sizes)
    assert len(parts.known) == 390
    for data in (parts.known, parts.test):
        assert np.isfinite(data.labels.churn).all()
        assert (data.sequences.event_time[data.sequences.last_step] < data.cutoff).all()
    assert np.corrcoef(parts.test.labels.churn[:, 0], truth)[0, 1] > 0.6
