"""Each recurrent cell against plain NumPy, through the whole network: the state at the step asked for is the cell's."""

import numpy as np
import pytest

from models.recurrent.network import Widths, build_network

UNITS = 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(steps, states, kernel, recurrent, bias):
    (state,) = states
    for step in steps:
        state = np.tanh(step @ kernel + state @ recurrent + bias)
        yield state


def gru(steps, states, kernel, recurrent, bias):
    """Keras's default, `reset_after`: the reset gate works on the recurrent part after its matrix."""
    (state,) = states
    for step in steps:
        from_step, from_state = step @ kernel + bias[0], state @ recurrent + bias[1]
        update, reset = (
            sigmoid(from_step[part] + from_state[part]) for part in (slice(0, UNITS), slice(UNITS, 2 * UNITS))
        )
        candidate = np.tanh(from_step[2 * UNITS :] + reset * from_state[2 * UNITS :])
        state = update * state + (1 - update) * candidate
        yield state


def lstm(steps, states, kernel, recurrent, bias):
    state, cell = states
    for step in steps:
        gates = np.split(step @ kernel + state @ recurrent + bias, 4)
        keep_in, forget, candidate, keep_out = (
            sigmoid(gates[0]),
            sigmoid(gates[1]),
            np.tanh(gates[2]),
            sigmoid(gates[3]),
        )
        cell = forget * cell + keep_in * candidate
        state = keep_out * np.tanh(cell)
        yield state


@pytest.mark.parametrize(("name", "reference"), [("simple_rnn", simple_rnn), ("gru", gru), ("lstm", lstm)])
def test_the_network_asks_the_state_of_the_cell_at_each_position(name, reference):
    random = np.random.default_rng(7)
    network = build_network(Widths(2, (), 1, 1), name, UNITS, 5, 0.0, [0.0])
    for weight in network.trainable_variables:
        weight.assign(random.normal(size=weight.shape) * 0.5)
    arrays = {
        "numeric": random.normal(size=(2, 6, 2)).astype(np.float32),
        "categorical": np.zeros((2, 6, 0), np.int32),
        "position": np.array([[0, 3, 5], [2, 2, 0]], np.int32),
        "context": random.normal(size=(2, 3, 1)).astype(np.float32),
    }
    answers = {head: values.numpy() for head, values in network(arrays).items()}

    layer, hidden, churn = (network.get_layer(part) for part in (name, "hidden", "churn"))
    parts = ("h", "c") if name == "lstm" else ("h",)
    initial = [network.get_layer(f"initial_{part}").get_weights()[0][0] for part in parts]
    for row in range(2):
        states = list(reference(arrays["numeric"][row], initial, *layer.get_weights()))
        for place, position in enumerate(arrays["position"][row]):
            seen = np.concatenate([states[position], arrays["context"][row, place]])
            kernel, bias = hidden.get_weights()
            weights, offset = churn.get_weights()
            expected = np.maximum(seen @ kernel + bias, 0) @ weights + offset
            assert answers["churn"][row, place] == pytest.approx(expected, abs=2e-6)


def test_the_churn_head_starts_at_the_base_rate():
    network = build_network(Widths(1, (2,), 1, 2), "gru", UNITS, 5, 0.0, [-1.5, -2.5])
    assert network.get_layer("churn").get_weights()[1] == pytest.approx([-1.5, -2.5])
