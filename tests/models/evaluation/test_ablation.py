"""What is taken away from a history, and what stays."""

import numpy as np
import pytest

from features.sequences.gaps import Gaps
from models import model_class
from models.evaluation.ablation import ABLATIONS, LAST, ablations, alteration, with_own_histories
from tests.support.worlds.model_worlds import HORIZON, change_after, halves, order_world, steady_world


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


@pytest.mark.parametrize("name", [None, *ABLATIONS])
def test_what_is_trained_on_holds_nothing_that_comes_after_the_cutoff(name):
    data = steady_world(40)
    cutoff = int(np.median(data.cutoff))
    before = data.select(data.cutoff <= cutoff)
    one, other = (alteration(name, 3)(each) for each in (before, change_after(before, cutoff)))
    assert np.array_equal(one.event_time, other.event_time)
    assert np.array_equal(one.numeric["amount"], other.numeric["amount"], equal_nan=True)
    longest = LAST if name == f"last {LAST} events" else np.inf
    assert np.array_equal(one.lengths, np.minimum(before.sequences.length, longest))
    assert (one.event_time < np.repeat(before.cutoff, one.lengths)).all()


def test_a_gap_is_a_label_once_and_the_last_one_is_real():
    data = steady_world(40)
    shared, own = Gaps.of(data), alteration(None, 3)(data)
    gaps = shared.of_altered(data.sequences, own)
    sequences = data.sequences
    _, first = np.unique(np.column_stack([sequences.history, sequences.length]), axis=0, return_index=True)
    assert gaps.days[own.last_step[first]] == pytest.approx(shared.days[sequences.last_step[first]])
    longest = np.zeros(len(sequences.lengths), int)
    np.maximum.at(longest, sequences.history, sequences.length)
    inner = np.isfinite(gaps.days)
    inner[own.last_step] = False
    assert np.isfinite(gaps.days).sum() - inner.sum() == len(first)
    assert inner.sum() == longest.sum() - len(first)
    assert (gaps.ended[inner] == 1).all()

    shuffled = alteration("order shuffled", 3)(data)
    moved = shared.of_altered(data.sequences, shuffled)
    assert np.array_equal(np.isfinite(moved.days), np.isfinite(gaps.days))
    assert moved.days[shuffled.last_step] == pytest.approx(gaps.days[own.last_step], nan_ok=True)


def test_a_network_trained_on_shuffled_events_cannot_learn_the_order():
    train, test = halves(order_world())
    small = {"max_epochs": 12, "units": 6, "learning_rate": 0.02, "weight_decay": 0.01, "dropout": 0}
    losses = {}
    for name in (None, "order shuffled", "gaps removed"):
        model = model_class("gru")((HORIZON,), 5, **small).altered(alteration(name, 3))
        model.fit(train, None)
        probability = model.predict(test).churn_probability
        losses[name] = -np.log(np.where(test.labels.churn == 1, probability, 1 - probability)).mean()
    assert losses[None] < 0.3
    assert losses["order shuffled"] > 0.5
    assert losses["gaps removed"] < losses[None] + 0.05


def test_a_survival_network_is_trained_on_altered_histories_as_on_its_own():
    train, test = halves(steady_world(120))
    rate = train.labels.churn.mean()

    def loss(probability):
        return -np.log(np.where(test.labels.churn == 1, probability, 1 - probability)).mean()

    model = model_class("survival_gru")((HORIZON,), 5, seeds=1, max_epochs=4)
    own = model.altered(alteration(None, 3))
    model.fit(train, None)
    own.fit(train, None)
    assert own.examples_a_history > 1
    assert own.parameters == model.parameters, "a fit leaves the recipe as it is"
    assert loss(own.predict(test).churn_probability) < loss(np.full((len(test), 1), rate)) - 0.05
    assert loss(own.predict(test).churn_probability) == pytest.approx(
        loss(model.predict(test).churn_probability), abs=0.03
    )
    assert model_class("lightgbm")((HORIZON,), 5).altered(alteration(None, 3)) is None
