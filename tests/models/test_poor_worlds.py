"""Every model on data that hold little: no amount anywhere, one outcome for everybody, purchases that nobody made."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset, Labels
from models import MODELS, POOLED, POOLS, model_class
from tests.models.test_models import make
from tests.support.worlds.model_worlds import DAY, START, halves, make_dataset, steady_world, with_labels

CONVENTIONAL = [name for name in MODELS if name not in POOLS and model_class(name).family == "conventional"]
ONE_NETWORK = "gru"  # networks share their heads; `make check NAME=any-source` runs them all


@pytest.fixture(scope="module")
def world() -> Dataset:
    return steady_world(40)


def without_amounts(data: Dataset) -> Dataset:
    numeric = data.sequences.numeric | {"amount": np.full(len(data.sequences.event_time), np.nan)}
    return replace(data, sequences=replace(data.sequences, numeric=numeric)).with_values_of_amounts()


def test_labels_of_purchases_are_unknown_where_no_event_has_an_amount(world):
    labels = without_amounts(world).labels
    assert np.isnan(labels.purchases).all()
    assert np.isnan(labels.spend).all()
    assert np.array_equal(labels.churn, world.labels.churn, equal_nan=True)
    assert world.with_values_of_amounts() is world


@pytest.mark.parametrize("name", [*CONVENTIONAL, ONE_NETWORK])
def test_without_amounts_and_with_one_class_it_predicts_churn_alone(name, world, tmp_path):
    data = without_amounts(world)
    data = with_labels(data, replace(data.labels, churn=np.zeros_like(data.labels.churn)))
    train, valid = halves(data)
    model = make(name, world.horizons, **({"max_epochs": 1} if "max_epochs" in model_class(name).defaults else {}))
    model.fit(train, valid)
    model.save(tmp_path)
    for each in (model, model_class(name).load(tmp_path)):
        predictions = each.predict(valid)
        assert np.isfinite(predictions.churn_probability).all()
        assert predictions.expected_purchases is None
        assert predictions.expected_spend is None
    if name in ("recency", "logistic_regression", "lightgbm"):
        assert predictions.churn_probability.max() < 0.05


@pytest.mark.parametrize("name", CONVENTIONAL)
def test_where_nobody_bought_none_is_expected(name, world):
    churn = world.labels.churn
    data = with_labels(world, Labels(churn, np.zeros_like(churn), np.zeros_like(churn)))
    model = make(name, world.horizons)
    model.fit(*halves(data))
    predictions = model.predict(data)
    for values in (predictions.expected_purchases, predictions.expected_spend):
        assert values is None or values.max() < 1e-6


def test_a_network_learns_the_base_rate_where_nobody_has_a_second_event():
    random = np.random.default_rng(1)
    bare = make_dataset([np.array([START]) for _ in range(60)], [START + 10 * DAY], (14,), random)
    bare = replace(bare, sequences=replace(bare.sequences, numeric={}, categorical={}))
    model = make(ONE_NETWORK, bare.horizons, max_epochs=1)
    model.fit(bare, None)
    assert model.encoder.numeric_channels == ["gap"]
    assert np.isfinite(model.predict(bare).churn_probability).all()


@pytest.mark.parametrize("name", POOLED)
def test_where_no_aggregate_varies_everybody_has_the_base_rate(name, world):
    alike = pd.DataFrame(1.0, world.aggregates.index, world.aggregates.columns)
    train, valid = halves(replace(world, aggregates=alike))
    model = make(name, world.horizons)
    model.fit(train, valid)
    said = model.predict(valid).churn_probability
    assert np.ptp(said, axis=0) == pytest.approx(0)
    assert said.mean(axis=0) == pytest.approx(np.nanmean(train.labels.churn, axis=0), abs=0.1)
