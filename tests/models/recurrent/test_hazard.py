"""The survival head against its formula, and the parameters that go with it."""

import numpy as np
import pytest

from features.sequences.gaps import Gaps
from models import model_class
from models.networks.compiled import weights_of
from models.networks.heads import HeadConfig
from models.recurrent.hazard import Hazard
from models.recurrent.intervals import Intervals
from models.recurrent.network import InputConfig
from models.recurrent.sequence_model import LONG_HISTORY
from tests.support.cell_cases import small_network
from tests.support.worlds.model_worlds import DAY, HORIZON, change_after, halves, steady_world

BEGINS = [0.0, 2.0, 5.0]
RATES = np.array([0.5, 0.1, 0.02])


def cumulative(days: float) -> float:
    """The integral of the hazard from 0 to `days`, by its definition."""
    moments = np.arange(0, days, 1e-3)
    return float(np.sum(RATES[np.searchsorted(BEGINS, moments, side="right") - 1]) * 1e-3)


def test_churn_is_no_event_coming_given_the_recency():
    hazard = Hazard(BEGINS, (3, 28))
    log_rate = np.broadcast_to(np.log(RATES), (1, 3, 3)).astype(np.float32)
    logits = hazard(log_rate, np.array([[0.0, 1.5, 30.0]], np.float32)).numpy()[0]
    for row, silence in enumerate((0.0, 1.5, 30.0)):
        for column, days in enumerate((3, 28)):
            expected = np.exp(cumulative(silence) - cumulative(silence + days))
            assert 1 / (1 + np.exp(-logits[row, column])) == pytest.approx(expected, rel=2e-3)


def test_the_loss_is_the_negative_log_likelihood_of_observed_and_of_censored_times():
    hazard = Hazard(BEGINS, (28,))
    log_rate = np.broadcast_to(np.log(RATES), (1, 4, 3)).astype(np.float32)
    days, ended = np.array([[1.0, 4.0, 9.0, np.nan]], np.float32), np.array([[1, 1, 0, np.nan]], np.float32)
    losses = hazard.loss(log_rate, days, ended).numpy()[0]
    expected = [cumulative(1) - np.log(0.5), cumulative(4) - np.log(0.1), cumulative(9), 0]
    assert losses == pytest.approx(expected, rel=2e-3)


def test_the_intervals_start_at_the_rates_of_everybody():
    random = np.random.default_rng(1)
    gaps = Gaps(random.exponential(4, 20_000), np.ones(20_000), np.array([20_000]))
    intervals = Intervals.fit(gaps)
    assert intervals.begins[0] == 0
    assert np.diff(intervals.begins).min() >= 0.5
    assert np.exp(intervals.log_rate) == pytest.approx(np.full(len(intervals.begins), 0.25), rel=0.25)


@pytest.mark.parametrize(("cell", "sign"), [("gru", {"update": 1}), ("lstm", {"enter": -1, "forget": 1})])
def test_chrono_gives_memories_up_to_the_longest(cell, sign):
    units = 200
    heads = HeadConfig(2, 0.0, [0.0])
    network = small_network(cell, units, InputConfig(1, (), 1), heads, chrono=1_000, random_state=3)
    bias = network.get_layer(cell).cell.bias.numpy()
    rows = bias[0] if cell == "gru" else bias
    for number, direction in enumerate(sign.values()):
        memory = np.exp(direction * rows[number * units : (number + 1) * units])
        assert memory.min() >= 1 - 1e-5
        assert 850 < memory.max() <= 999.1
    assert not rows[len(sign) * units :].any()


def test_chrono_follows_the_lengths_of_training_histories():
    train, valid = halves(steady_world(customers=40))
    small = {"max_epochs": 1, "units": 100, "head_units": 6, "learning_rate": 1e-9, "weight_decay": 0.0}
    for most, longest in ((None, np.quantile(train.sequences.length, LONG_HISTORY)), (8, 8)):
        model = model_class("gru")((HORIZON,), 5, chrono="history", max_steps=most or 256, **small)
        model.fit(train, valid)
        memory = np.exp(model.networks[0].get_layer("gru").cell.bias.numpy()[0, :100])
        assert 0.9 * (longest - 1) < memory.max() <= longest - 1 + 1e-3


def test_networks_are_averaged_and_carried_into_a_fit_without_validation(tmp_path):
    train, valid = halves(steady_world(customers=40))
    small = {"max_epochs": 2, "units": 4, "head_units": 6, "batch_size": 16}
    model = model_class("gru")((HORIZON,), 5, seeds=2, **small)
    model.fit(train, valid)
    reader = model._reader(valid, None, training=False)
    answers = [model.compiled.forward(reader, weights_of(network)) for network in model.networks]
    each = [1 / (1 + np.exp(-given["churn"])) for given in answers]
    assert not np.array_equal(*each)
    assert model.predict(valid).churn_probability == pytest.approx(np.mean(each, axis=0), abs=1e-12)
    assert len(model.parameters["epochs"]) == 2
    assert {"valid_log_loss", "valid_log_loss_2"} <= set(model.curves)
    model.save(tmp_path)
    loaded = model_class("gru").load(tmp_path)
    assert np.array_equal(loaded.predict(valid).churn_probability, model.predict(valid).churn_probability)
    assert loaded._planned_epochs(validated=False) == model.parameters["epochs"]


def test_inter_event_times_alone_teach_churn_at_every_horizon():
    """The share of customers who stay silent is found without any churn label in the loss."""
    train, valid = halves(steady_world(customers=240, horizons=(7, 28)))
    model = model_class("survival_gru")(
        (7, 28), 5, seeds=1, churn_weight=0.0, max_epochs=8, units=8, head_units=16, batch_size=16, learning_rate=0.01
    )
    model.fit(train, valid)
    said = model.predict(valid).churn_probability.mean(axis=0)
    assert said == pytest.approx(valid.labels.churn.mean(axis=0), abs=0.06)


def test_training_looks_at_nothing_at_or_after_the_end_of_its_labels_knowledge():
    world = steady_world(customers=40)
    train = world.select(world.cutoff <= np.median(world.cutoff))
    changed = change_after(train, int(train.cutoff.max()) + HORIZON * DAY)
    assert not np.array_equal(changed.sequences.event_time, train.sequences.event_time)
    probabilities = []
    for data in (train, changed):
        model = model_class("survival_gru")((HORIZON,), 5, seeds=1, max_epochs=1, units=4, head_units=6, batch_size=16)
        model.fit(data, None)
        probabilities.append(model.predict(train).churn_probability)
    assert np.array_equal(*probabilities)
