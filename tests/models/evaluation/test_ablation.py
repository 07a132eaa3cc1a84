"""What is taken away from a history, and what stays."""

import numpy as np
import pytest

from models import model_class
from models.evaluation.ablation import ABLATIONS, LAST, ablations, with_own_histories
from tests.support.worlds.model_worlds import HORIZON, halves, order_world, steady_world


@pytest.fixture(scope="module")
def own():
    return with_own_histories(steady_world(60))


def changed(data):
    return dict(ablations(data, 3))


def test_each_ablation_has_its_words(own):
    assert list(changed(own)) == list(ABLATIONS)


def test_shuffling_keeps_both_ends_the_gaps_and_the_contents(own):
    before, after = own.sequences, changed(own)["order shuffled"]
    assert not np.array_equal(before.numeric["amount"], after.numeric["amount"])
    for history in range(len(before.length)):
        steps = slice(before.offsets[history], before.offsets[history + 1])
        old, new = before.event_time[steps], after.event_time[steps]
        assert (new[0], new[-1]) == (old[0], old[-1])
        assert sorted(np.diff(new)) == sorted(np.diff(old))
        assert sorted(before.numeric["amount"][steps]) == sorted(after.numeric["amount"][steps])


def test_without_gaps_events_are_evenly_apart(own):
    before, after = own.sequences, changed(own)["gaps removed"]
    for history in range(len(before.length)):
        steps = slice(before.offsets[history], before.offsets[history + 1])
        gaps = np.diff(after.event_time[steps])
        assert len(gaps) == 0 or np.ptp(gaps) <= 2
        assert after.event_time[steps][-1] == before.event_time[steps][-1]


def test_cut_histories_hold_the_last_events(own):
    before, after = own.sequences, changed(own)[f"last {LAST} events"]
    assert after.length.tolist() == np.minimum(before.length, LAST).tolist()
    assert np.array_equal(after.event_time[after.last_step], before.event_time[before.last_step])


def test_a_network_that_learnt_the_order_loses_by_its_shuffling():
    train, test = halves(order_world())
    model = model_class("gru")((HORIZON,), 5, max_epochs=12, units=6, learning_rate=0.02, weight_decay=0.01, dropout=0)
    model.fit(train, None)
    own = with_own_histories(test)
    said = model.predict(test).churn_probability

    def loss(probability):
        return -np.log(np.where(test.labels.churn == 1, probability, 1 - probability)).mean()

    found = {
        what: loss(model.predict_reading(own, sequences).churn_probability) for what, sequences in ablations(own, 3)
    }
    assert model.predict_reading(own, own.sequences).churn_probability == pytest.approx(said, abs=1e-6)
    assert found["order shuffled"] > loss(said) + 0.3
    assert found["gaps removed"] < loss(said) + 0.05
