"""Each recurrent cell against plain NumPy, through the whole network: states, gradients and one update."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from models import MODELS, model_class
from models.networks.heads import HeadConfig
from models.recurrent.network import InputConfig
from models.recurrent.packed import packed_layer
from models.recurrent.truncated import truncated
from tests.support import reference
from tests.support.cell_cases import case, small_network

CELLS = list(reference.CELLS)


def layer_of(name):
    return packed_layer(model_class(name).cell)


def first_states(cell, states):
    return [states() for _ in model_class(cell).cell.states]


def test_a_cell_is_known_without_tensorflow():
    modules = [path.partition(":")[0] for path in MODELS.values()]
    program = f"import sys\nfor name in {modules!r}: __import__(name)\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("cell", CELLS)
def test_the_network_reads_the_state_of_the_cell_at_each_position(cell):
    made = case(cell, 7)
    expected = reference.answers(cell, made.arrays, made.values())
    given = made.network({name: value for name, value in made.tensors().items() if name in made.network.input})
    for head, values in expected.items():
        assert given[head].numpy() == pytest.approx(values, abs=5e-6), head


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_derived_by_hand(cell):
    made = case(cell, 8)
    expected = reference.gradient(cell, made.arrays, made.values())
    loss, gradients = made.loss_and_gradients()
    assert loss == pytest.approx(reference.loss(cell, made.arrays, made.values()), rel=1e-5)
    for name, value in gradients.items():
        assert np.linalg.norm(value - expected[name]) <= 1e-4 * np.linalg.norm(expected[name]), name


def test_gradients_derived_by_hand_are_those_of_differences():
    made = case("gru", 9)
    by_hand = reference.gradient("gru", made.arrays, made.values())
    for name, value in reference.numeric_gradient("gru", made.arrays, made.values()).items():
        assert np.linalg.norm(value - by_hand[name]) <= 1e-6 * np.linalg.norm(by_hand[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_one_update_is_that_of_the_reference(optimizer):
    made = case("lstm", 10)
    before = made.values()
    gradients = reference.gradient("lstm", made.arrays, before)
    expected = reference.first_update(before, gradients, optimizer, 0.05, 0.5)
    made.learn(optimizer, 0.05, 0.5)
    for name, value in made.values().items():
        moved = expected[name] - before[name]
        assert np.linalg.norm(value - expected[name]) <= 1e-4 * np.linalg.norm(moved), name


def test_the_churn_head_starts_at_the_base_rate():
    network = small_network("gru", 3, InputConfig(1, (2,), 1), HeadConfig(5, 0.0, [-1.5, -2.5]))
    assert network.get_layer("churn").get_weights()[1] == pytest.approx([-1.5, -2.5])


@pytest.mark.parametrize("cell", CELLS)
def test_the_layer_is_the_one_that_keras_ships(cell):
    random = np.random.default_rng(5)
    steps = tf.constant(random.normal(size=(3, 9, 4)).astype("float32"))
    first = first_states(cell, lambda: tf.constant(random.normal(size=(3, 5)).astype("float32")))
    kinds = layer_of(cell), layer_of(cell).__mro__[2]
    ours, theirs = (kind(5, return_sequences=True, return_state=True) for kind in kinds)
    theirs(steps, initial_state=first)
    ours(steps, initial_state=first)
    ours.set_weights(theirs.get_weights())
    found = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch([steps, *first])
            given = layer(steps, initial_state=first)
            total = sum(tf.reduce_sum(part * tf.cos(tf.range(5.0))) for part in given)
        found.append([*given, *tape.gradient(total, [steps, *first, *(w.value for w in layer.trainable_variables)])])
    for one, other in zip(*found, strict=True):
        assert tf.convert_to_tensor(one).numpy() == pytest.approx(tf.convert_to_tensor(other).numpy(), abs=2e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_truncation_changes_the_gradient_and_no_answer(cell):
    random = np.random.default_rng(4)
    steps, first = random.normal(size=(2, 7, 3)).astype("float32"), first_states(cell, lambda: tf.zeros((2, 4)))
    cut = truncated(layer_of(cell), 3)(4, return_sequences=True)
    whole = cut(steps, initial_state=first)
    assert cut(steps, initial_state=first, training=True).numpy() == pytest.approx(whole.numpy(), abs=1e-6)
    given = tf.constant(steps)
    with tf.GradientTape() as tape:
        tape.watch(given)
        asked = tf.reduce_sum(cut(given, initial_state=first, training=True)[:, 5])
    reaches = np.abs(tape.gradient(asked, given).numpy()).sum((0, 2)) > 0
    assert reaches.tolist() == [False] * 3 + [True] * 3 + [False]
