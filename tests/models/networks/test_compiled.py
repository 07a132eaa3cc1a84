"""What a network does as functions of its weights: traced once an architecture, clipped weight by weight."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import model_class
from models.networks.compiled import Compiled, set_weights, weights_of
from models.networks.heads import HeadConfig
from models.recurrent.network import InputConfig
from tests.support.cell_cases import small_network
from tests.support.worlds.model_worlds import HORIZON, halves, steady_world

SMALL = {"max_epochs": 1, "units": 4, "head_units": 6, "batch_size": 16}


def test_networks_of_one_architecture_are_traced_once():
    train, valid = halves(steady_world(customers=40))
    made: list[Any] = [model_class("gru")((HORIZON,), seed, seeds=2, **SMALL) for seed in (5, 6)]
    for model in made:
        model.fit(train, valid)
    assert made[0].compiled is made[1].compiled
    assert made[0].compiled.descent.experimental_get_tracing_count() == 1
    assert not np.array_equal(*(model.predict(valid).churn_probability for model in made))


def test_a_refit_on_other_examples_is_of_the_same_architecture():
    """Scalers differ, and are applied before the network; what is traced anew costs seconds."""
    train, valid = halves(steady_world(customers=40))
    model: Any = model_class("gru")((HORIZON,), 5, **SMALL)
    refit: Any = model_class("gru")((HORIZON,), 5, **SMALL)
    model.fit(train, None)
    refit.fit(valid, None)
    assert model._state() != refit._state()
    assert model.compiled is refit.compiled


def test_another_architecture_is_another():
    train = steady_world(customers=40)
    made: list[Any] = [model_class("gru")((HORIZON,), 5, **SMALL | other) for other in ({}, {"units": 5})]
    for model in made:
        model.fit(train, None)
    assert made[0].compiled is not made[1].compiled


def test_weights_go_in_as_they_came_out():
    network = small_network("lstm", 3, InputConfig(2, (3,), 1), HeadConfig(4, 0.0, [0.0]))
    weights = weights_of(network)
    set_weights(network, weights[::-1])
    assert np.array_equal(weights_of(network), weights[::-1])


def test_each_weight_is_clipped_by_its_own_norm_an_embedding_too():
    """The rows of an embedding that a batch looks up many times add up before its norm is taken."""
    random = np.random.default_rng(1)
    network = small_network("gru", 3, InputConfig(1, (3,), 1), HeadConfig(4, 0.0, [0.0]))
    set_weights(network, random.normal(size=len(weights_of(network))).astype(np.float32))
    shape = (8, 1, 1)
    arrays = {
        "numeric": random.normal(size=(8, 5, 1)),
        "categorical": random.integers(1, 4, (8, 5, 1)),
        "length": np.full(8, 5),
        "position": np.full((8, 1), 4),
        "context": random.normal(size=shape),
        "churn": np.ones(shape),
        "purchases": np.full(shape, 40.0),
        "spend": np.full(shape, 900.0),
    }
    compiled = Compiled(network)
    given = {name: tf.cast(arrays[name], spec.dtype) for name, spec in compiled.read.items()}
    seeds = [seed.value for seed in network.non_trainable_variables]
    loss, raw, _ = compiled.loss_and_gradients(given, weights_of(network), seeds)
    traced_loss, clipped, _ = compiled.descent(given, weights_of(network), seeds)
    assert float(traced_loss) == pytest.approx(float(loss), rel=1e-5)
    parts = np.split(clipped.numpy(), np.cumsum(compiled.sizes)[:-1])
    norms = {}
    for weight, each, part in zip(network.trainable_variables, raw, parts, strict=True):
        whole = tf.convert_to_tensor(each).numpy().ravel()
        norms[weight.path] = np.linalg.norm(whole)
        assert part == pytest.approx(whole / max(norms[weight.path], 1.0), rel=1e-4, abs=1e-6)
    assert max(norm for path, norm in norms.items() if "embedding" in path) > 1  # so that something was clipped
