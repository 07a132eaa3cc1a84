"""A twin is its recurrent model in everything but the memory."""

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import Dataset
from features.sequences.encoding import StateAtCutoff
from features.sequences.gaps import NextEvent
from models import model_class
from models.explanation.attributions import attributions
from models.labels import base_rates
from models.networks.compiled import set_weights, weights_of
from models.numerics import log_loss, logit
from models.recurrent.hazard import Hazard
from models.recurrent.sequence_model import SequenceModel
from tests.models.recurrent.test_hazard import BEGINS, RATES, cumulative
from tests.support.untrained import untrained
from tests.support.worlds.model_worlds import HORIZON, halves, order_world, steady_world

HORIZONS = (28, HORIZON)
NAMES = ("simple_rnn", "lstm", "gru", "survival_gru", "hybrid_gru")
SMALL = {"max_epochs": 4, "units": 6, "head_units": 12, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.0}


def recurrent(name: str, **parameters: object) -> SequenceModel:
    several = {"seeds": 2} if model_class(name).defaults["seeds"] > 1 else {}
    return model_class(name)(HORIZONS, 5, **SMALL | several | parameters)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Dataset]:
    return halves(steady_world(horizons=HORIZONS))


@pytest.fixture(scope="module", params=NAMES)
def twin(request, world):
    made = recurrent(request.param).twin()
    made.fit(*world)
    return request.param, made


def test_it_is_the_same_recipe_without_memory(twin):
    name, model = twin
    own = recurrent(name)
    assert type(model) is type(own)
    assert model.recipe_of(model.parameters) == own.recipe_of(own.parameters) | {"memory": False}
    assert len(model.networks) == own.parameters["seeds"]
    assert (model.needs, model.family, model.views) == ("aggregates", "neural", ("aggregates",))
    assert (own.family, own.views) == (type(own).family, type(own).views)
    assert model.stepper() is model.twin() is model.without_state() is None


def test_the_networks_differ_in_the_recurrent_layer_alone(twin, world):
    name, model = twin
    own = recurrent(name, max_epochs=1, seeds=1)
    own.fit(world[0].select(np.arange(100)), None)
    mine, others = ({layer.name: layer for layer in made.networks[0].layers if layer.weights} for made in (model, own))
    assert mine.keys() - others.keys() == {"queried"}
    in_its_place = {own.cell.name, *(f"initial_{state}" for state in own.cell.states)}
    assert others.keys() - mine.keys() == in_its_place | {each for each in others if each.startswith("embedding")}
    assert mine["queried"].units == own.parameters["units"]
    for layer in mine.keys() & others.keys():
        ours, theirs = ([weight.shape for weight in each[layer].weights] for each in (mine, others))
        if layer != "log_rate" and layer != "adjustment":  # which have as many rates as the data have intervals
            assert ours == theirs, layer


def test_it_learns(twin, world):
    train, valid = world
    constant = np.broadcast_to(base_rates(train.labels.churn), valid.labels.churn.shape)
    loss = log_loss(valid.labels.churn, twin[1].predict(valid).churn_probability)
    assert loss < log_loss(valid.labels.churn, constant) - 0.01


def test_it_reads_no_history(twin, world):
    """Scoring has no more than the aggregates, and of the history the time of the last event."""
    data, model = world[1], twin[1]
    sequences = data.sequences
    last = replace(
        sequences,
        offsets=np.arange(len(data) + 1),
        event_time=sequences.event_time[sequences.last_step],
        numeric={},
        categorical={},
        history=np.arange(len(data)),
        length=np.ones(len(data), np.int64),
    )
    bare = model.predict(replace(data, sequences=last, labels=None))
    predictions = model.predict(data)
    for value in ("churn_probability", "expected_purchases", "expected_spend"):
        assert np.array_equal(getattr(bare, value), getattr(predictions, value))
    assert model.predict_reading(data, sequences) is None


def test_it_is_saved_and_loaded(twin, world, tmp_path):
    name, model = twin
    model.save(tmp_path)
    loaded = model_class(name).load(tmp_path)
    assert loaded.needs == "aggregates"
    assert np.array_equal(loaded.predict(world[1]).churn_probability, model.predict(world[1]).churn_probability)


def test_its_contributions_add_up(twin, world):
    data = world[1].select(np.arange(0, len(world[1]), 9))
    said = attributions(twin[1], data, 1, data)
    begin = logit(twin[1].predict(data).churn_probability[:, 1]) - said.sum(axis=1)
    assert (begin - begin.median()).abs().max() < 0.03 + 0.02 * said.abs().sum(axis=1).max()


def test_what_only_the_order_tells_it_does_not_learn():
    train, test = halves(order_world())
    model = model_class("gru")((HORIZON,), 5, **SMALL | {"max_epochs": 12})
    twin = model.twin()
    model.fit(train, None)
    twin.fit(train, None)
    losses = [log_loss(test.labels.churn, each.predict(test).churn_probability) for each in (model, twin)]
    assert losses[0] < 0.1
    assert losses[1] > 0.65


def test_the_loss_is_truncated_at_the_cutoff():
    """Who had been silent for so long is known to have been: that silence is no evidence of a low rate."""
    hazard = Hazard(BEGINS, (28,))
    log_rate = np.broadcast_to(np.log(RATES), (1, 3, 3)).astype(np.float32)
    since = np.array([[1.0, 3.0, 3.0]], np.float32)
    days, ended = np.array([[4.0, 9.0, np.nan]], np.float32), np.array([[1, 0, np.nan]], np.float32)
    losses = hazard.loss(log_rate, days, ended, since).numpy()[0]
    expected = [cumulative(4) - cumulative(1) - np.log(0.1), cumulative(9) - cumulative(3), 0]
    assert losses == pytest.approx(expected, rel=2e-3)


def test_its_survival_head_learns_the_time_from_the_cutoff_to_the_next_event(world):
    """The loss of the compiled functions, against the formula on each example; nothing else weighs."""
    train, _ = world
    model = recurrent("survival_gru", seeds=1).twin()
    model.fit(train, None)
    network, following = model.networks[0], NextEvent.of(train)
    set_weights(network, weights_of(network) * 1.1)
    reader = model._reader(train, train.labels, training=True)
    batch = reader.cut(16, 100_000, np.random.default_rng(1))[0]
    arrays, example = reader.read(batch)
    rows = example[example >= 0]
    taken = example >= 0
    assert arrays["recency"][taken] == pytest.approx(train.aggregates["days_since_last_event"].to_numpy()[rows])
    since, until = arrays["recency"][taken], arrays["inter_event_days"][taken]
    assert until - since == pytest.approx(following.days[rows], abs=1e-3, nan_ok=True)
    assert np.array_equal(arrays["event_observed"][taken], following.ended[rows], equal_nan=True)
    assert np.isnan(arrays["event_observed"][~taken]).all()
    outputs = network({name: arrays[name] for name in network.input})
    rates = np.exp(outputs["log_rate"].numpy()[taken].astype(np.float64))
    edges = np.array([*model.intervals.begins, 1e5])

    def exposure(days):
        return np.clip(days[:, None] - edges[:-1], 0, np.diff(edges))

    within = np.searchsorted(edges, until, side="right") - 1
    log_rate = np.log(rates[np.arange(len(rows)), np.clip(within, 0, len(edges) - 2)])
    losses = (rates * (exposure(until) - exposure(since))).sum(1) - following.ended[rows] * log_rate
    known = np.isfinite(following.ended[rows])
    blank = {name: np.full_like(arrays[name], np.nan) for name in ("churn", "purchases", "spend")}
    compiled = model.compiled
    read = {name: (arrays | blank)[name] for name in compiled.read}
    seeds = [seed.value for seed in network.non_trainable_variables]
    loss, *_ = compiled.loss_and_gradients(read, weights_of(network), seeds)
    assert float(loss) == pytest.approx(losses[known].mean(), rel=1e-4)


@pytest.mark.parametrize("name", ["gru", "survival_gru"])
def test_its_batches_are_those_of_the_recurrent_model(world, name):
    train, _ = world
    few = train.select(np.arange(60))
    model, twin = (untrained(name, few, seeds=1, memory=memory, **SMALL) for memory in (True, False))
    readers = [each._reader(train, train.labels, training=True) for each in (model, twin)]
    batches = [reader.cut(16, 16 * 256, np.random.default_rng(3)) for reader in readers]
    for one, other in zip(*batches, strict=True):
        (arrays, examples), (bare, same) = (
            reader.read(batch) for reader, batch in zip(readers, (one, other), strict=True)
        )
        assert np.array_equal(examples, same)
        assert np.array_equal(arrays["churn"], bare["churn"], equal_nan=True)


def test_aggregates_say_of_the_cutoff_what_histories_say(world):
    one, other = StateAtCutoff.of(world[1]), StateAtCutoff.of_aggregates(world[1])
    for name in ("cutoff", "first", "last", "events"):
        assert np.abs(getattr(one, name) - getattr(other, name)).max() <= 1
