"""What every model promises, whichever it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.dataset import Dataset, Labels
from models import MODELS, POOLED, model_class
from models.base import Model
from models.evaluation.metrics import clip_probabilities
from models.explanation.attributions import attributions
from models.labels import base_rates
from models.line import linear
from models.numerics import log_loss, logit
from tests.support.worlds.model_worlds import DAY, HORIZON, change_after, halves, order_world, steady_world, with_labels

SMALL = {
    "max_epochs": 3,
    "units": 6,
    "head_units": 12,
    "batch_size": 16,
    "learning_rate": 0.02,
    "dropout": 0.0,
    "weight_decay": 0.01,
    "trees": 20,
    "min_examples_a_leaf": 10,
    "max_rounds": 60,
}
HORIZONS = (28, HORIZON)
WITHOUT_PURCHASES = ("hazard_logistic_regression", "hazard_lightgbm")
WITHOUT_SPEND = ("bg_nbd", "pareto_nbd", *WITHOUT_PURCHASES)


# Each pool's member beside those that all have.
POOLS = {"conventional_pool": None, "recurrent_pool": "hybrid_gru", "twin_pool": "hybrid_gru"}


def small(name: str) -> dict[str, object]:
    defaults = model_class(name).defaults
    seeds = {"seeds": 2} if defaults.get("seeds", 1) > 2 else {}
    return seeds | {key: value for key, value in SMALL.items() if key in defaults}


def make(name: str, horizons: tuple[int, ...] = HORIZONS, **parameters: object) -> Model:
    own = small(name)
    if name.endswith("_pool"):
        member, more = POOLS[name], {"memory": False} if name == "twin_pool" else {}
        own = {"member": member, "specs": {each: small(each) for each in POOLED}}
        if member:
            own["specs"][member] = small(member) | more
    return model_class(name)(horizons, 5, **own | parameters)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Dataset]:
    return halves(steady_world(horizons=HORIZONS))


@pytest.fixture(scope="module", params=list(MODELS))
def fitted(request, world):
    model = make(request.param)
    model.fit(*world)
    return request.param, model


def test_it_predicts_better_than_the_base_rate(fitted, world):
    train, valid = world
    constant = np.broadcast_to(base_rates(train.labels.churn), valid.labels.churn.shape)
    predictions = fitted[1].predict(valid)
    assert log_loss(valid.labels.churn, predictions.churn_probability) < log_loss(valid.labels.churn, constant) - 0.01


def test_what_it_says_of_its_inputs_adds_up_to_what_it_predicts(fitted, world):
    name, model = fitted
    asked = world[1].select(np.arange(0, len(world[1]), 7))
    found = attributions(model, asked, 1, asked)  # the shorter horizon, which nothing holds down
    if name == "recency":  # which has nothing but the last event, and occlusion to tell it
        assert set(found.columns[(found != 0).any()]) == {"last_event"}
        return
    probability = model.predict(asked).churn_probability[:, 1]
    sure = clip_probabilities(probability) != probability  # beyond what a logit tells apart
    beginning = (logit(probability) - found.sum(axis=1))[~sure]  # the same for every customer
    moved = found.abs().sum(axis=1)
    assert moved.max() > 0.5
    assert (beginning - beginning.median()).abs().max() < 0.03 + 0.02 * moved.max()


def test_its_predictions_are_probabilities_and_amounts(fitted, world):
    predictions = fitted[1].predict(world[1])
    shape = (len(world[1]), len(HORIZONS))
    assert predictions.churn_probability.shape == shape
    assert ((predictions.churn_probability >= 0) & (predictions.churn_probability <= 1)).all()
    assert (predictions.churn_probability[:, 0] <= predictions.churn_probability[:, 1]).all()  # 28 days and 14
    for values in (predictions.expected_purchases, predictions.expected_spend):
        if values is None and fitted[0] in WITHOUT_SPEND:
            continue
        assert values.shape == shape
        assert (values >= 0).all()


def test_expected_totals_are_near_the_training_totals(fitted, world):
    train = world[0]
    predictions = fitted[1].predict(train)
    if fitted[0] in WITHOUT_PURCHASES:
        assert predictions.expected_purchases is None
        return
    assert predictions.expected_purchases.sum(0) == pytest.approx(train.labels.purchases.sum(0), rel=0.1)
    if fitted[0] in WITHOUT_SPEND:
        assert predictions.expected_spend is None
        return
    assert predictions.expected_spend.sum(0) == pytest.approx(train.labels.spend.sum(0), rel=0.1)


def test_save_and_load_give_the_same_predictions(fitted, world, tmp_path):
    name, model = fitted
    model.save(tmp_path)
    assert not list(tmp_path.rglob("*.pkl"))
    loaded = model_class(name).load(tmp_path)
    before, after = model.predict(world[1]), loaded.predict(world[1])
    for field in ("churn_probability", "expected_purchases", "expected_spend"):
        assert np.array_equal(getattr(before, field), getattr(after, field)), field
    assert loaded.parameters == json.loads(json.dumps(model.parameters))


def test_what_happens_at_or_after_the_cutoff_changes_no_prediction(fitted, world):
    valid = world[1]
    cutoff = int(np.unique(valid.cutoff)[3])
    data = valid.select(valid.cutoff == cutoff)
    changed = with_labels(change_after(data, cutoff), None)
    assert not np.array_equal(changed.sequences.event_time, data.sequences.event_time)
    assert np.array_equal(fitted[1].predict(changed).churn_probability, fitted[1].predict(data).churn_probability)


def test_a_prediction_depends_neither_on_its_company_nor_on_its_place(fitted, world):
    valid = world[1]
    together = fitted[1].predict(valid).churn_probability
    order = np.random.default_rng(3).permutation(len(valid))
    assert np.abs(fitted[1].predict(valid.select(order)).churn_probability - together[order]).max() <= 1e-6
    for row in (0, len(valid) // 2, len(valid) - 1):
        alone = fitted[1].predict(valid.select(np.array([row]))).churn_probability[0]
        assert np.abs(alone - together[row]).max() <= 1e-6


@pytest.mark.parametrize("name", ["random_forest", "lightgbm", "hybrid_gru"])
def test_two_fits_are_equal_bit_for_bit(name, world):
    first, second = (make(name) for _ in range(2))
    for model in (first, second):
        model.fit(*world)
    a, b = (model.predict(world[1]) for model in (first, second))
    assert np.array_equal(a.churn_probability, b.churn_probability)
    assert np.array_equal(a.expected_spend, b.expected_spend)
    assert first.curves == second.curves


@pytest.mark.parametrize("name", ["recency", "logistic_regression", "random_forest", "lightgbm", "hybrid_gru"])
def test_labels_that_were_not_observed_are_not_learnt_from(name, world):
    """Half of the longer horizon's labels are unknown, and what stands in for them must not matter."""
    train = world[0]
    unknown = np.zeros(train.labels.churn.shape, bool)
    unknown[train.cutoff > np.median(train.cutoff), 0] = True
    labels = Labels(
        *(
            np.where(unknown, np.nan, values)
            for values in (train.labels.churn, train.labels.purchases, train.labels.spend)
        )
    )
    model = make(name, **{"max_epochs": 1} if "max_epochs" in model_class(name).defaults else {})
    model.fit(with_labels(train, labels), None)
    predictions = model.predict(world[1])
    assert np.isfinite(predictions.churn_probability).all()
    assert np.isfinite(predictions.expected_spend).all()


@pytest.mark.parametrize("name", ["hazard_logistic_regression", "bg_nbd", "survival_gru"])
def test_histories_without_labels_teach_up_to_the_last_cutoff_and_no_further(name, world):
    train = world[0]
    unknown = np.array([int(customer[1:]) % 2 == 0 for customer in train.customer_id])
    data = with_labels(train, train.labels.without(unknown))
    sequences = train.sequences
    step = np.repeat(np.isin(np.arange(len(sequences.lengths)), sequences.history[unknown]), sequences.lengths)
    later = step & (sequences.event_time >= train.cutoff.max())
    other = replace(sequences, event_time=sequences.event_time + np.where(later, DAY // 3, 0))
    assert later.any()
    models = [make(name) for _ in range(3)]
    for model, taught in zip(models, (data, replace(data, sequences=other), data.select(~unknown)), strict=True):
        model.fit(taught, None)
    fitted, with_other_futures, by_labelled_alone = (model.predict(world[1]).churn_probability for model in models)
    assert np.array_equal(fitted, with_other_futures)
    assert not np.allclose(fitted, by_labelled_alone, atol=1e-3)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_horizon_without_any_label_is_refused(name, world):
    train = world[0]
    labels = Labels(*(np.full_like(train.labels.churn, np.nan) for _ in range(3)))
    with pytest.raises(ValueError, match="no label was observed"):
        make(name).fit(with_labels(train, labels), None)


def test_what_validation_found_is_carried_into_a_fit_without_it(world):
    model = make("lightgbm")
    model.fit(*world)
    again = model_class("lightgbm")(HORIZONS, 5, **model.parameters)
    again.fit(world[0], None)
    assert again.predict(world[1]).churn_probability == pytest.approx(model.predict(world[1]).churn_probability)


@pytest.mark.parametrize("name", ["simple_rnn", "gru"])
def test_a_recurrent_model_sees_the_order_of_events(name):
    train, test = halves(order_world())
    model = make(name, (HORIZON,), max_epochs=12)
    model.fit(train, None)
    assert log_loss(test.labels.churn, model.predict(test).churn_probability) < 0.1


def test_progress_is_told_every_epoch(world):
    told = []
    make("feed_forward").fit(*world, on_epoch=lambda epoch, measures: told.append((epoch, sorted(measures))))
    assert told == [(epoch, ["train_loss", "valid_log_loss"]) for epoch in (1, 2, 3)]


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="choose among recency, logistic_regression"):
        model_class("oracle")


def test_a_network_also_learns_by_stochastic_gradient_descent(world):
    train, valid = world
    model = make("feed_forward", optimizer="sgd", max_epochs=8, learning_rate=0.05)
    model.fit(train, valid)
    constant = np.broadcast_to(base_rates(train.labels.churn), valid.labels.churn.shape)
    loss = log_loss(valid.labels.churn, model.predict(valid).churn_probability)
    assert loss < log_loss(valid.labels.churn, constant) - 0.01


def test_a_hybrid_without_its_state_reads_no_history(world):
    train, valid = world
    model = make("hybrid_gru", with_state=False)
    model.fit(train, valid)
    altered = valid.sequences.numeric | {"amount": valid.sequences.numeric["amount"] + 1e3}
    other = replace(valid, sequences=replace(valid.sequences, numeric=altered))
    assert np.array_equal(model.predict(other).churn_probability, model.predict(valid).churn_probability)


def test_a_hybrid_is_a_line_on_aggregates_and_a_share_of_what_gaps_say(world):
    """Held against the survival head alone, in the network, and against the fitted line, in NumPy."""
    import keras

    train, valid = world
    model = make("hybrid_gru", seeds=1)
    model.fit(train, valid)
    network = model.networks[0]
    arrays, example = model._reader(valid, None, training=False).read(np.arange(8))
    asked = example >= 0
    parts = keras.Model(network.input, {"survival": network.output["survival"], "churn": network.output["churn"]})
    prepared = model.preparation.transform(valid.aggregates).astype(np.float64)
    lines = linear(model.line, model.basis.expand(prepared))[example[asked]]
    model.set_share(0.3)
    said = parts({name: arrays[name] for name in network.input})
    expected = 0.3 * said["survival"].numpy()[asked] + 0.7 * lines
    assert np.allclose(said["churn"].numpy()[asked], expected, atol=1e-4)
    assert np.ptp(lines) > 0.1


def test_a_hybrid_contains_the_logistic_regression(world):
    """Its line is the regression's, to the strength; training does not move it, nor does a refit without validation."""
    train, valid = world
    regression = make("logistic_regression")
    regression.fit(train, valid)
    model = make("hybrid_gru", seeds=1)
    model.fit(train, valid)
    share = model.parameters["state_share"]
    assert 0 <= share <= 1
    assert model.parameters["strength"] == regression.parameters["strength"]
    model.set_share(0.0)
    expected = regression.predict(valid).churn_probability
    assert np.allclose(model.predict(valid).churn_probability, expected, atol=1e-5)
    again = model_class("hybrid_gru")(HORIZONS, 5, **model.parameters)
    again.fit(train, None)
    assert again.parameters["state_share"] == share
    assert again.networks[0].get_layer("pooled").share.numpy() == pytest.approx([share])


def test_a_network_learns_with_its_gradient_cut_short(world):
    train, valid = world
    model = make("lstm", truncate=4)
    model.fit(train, valid)
    constant = np.broadcast_to(base_rates(train.labels.churn), valid.labels.churn.shape)
    loss = log_loss(valid.labels.churn, model.predict(valid).churn_probability)
    assert loss < log_loss(valid.labels.churn, constant) - 0.01


def test_an_unknown_optimizer_is_refused(world):
    with pytest.raises(ValueError, match="none of adamw, adam, sgd"):
        make("feed_forward", optimizer="newton").fit(*world)
