"""The whole recurrent network in plain NumPy: the three cells, the heads, the loss, its gradient by hand, one update.

It is written to be read beside a textbook, not to be fast: one history at a time, in float64, every derivative spelt
out. `weights` is a dict from name to array: `h` (and `c`) the first state, `kernel`, `recurrent`, `bias` the cell's, as
Keras lays them out, and `<head>_kernel`, `<head>_bias` for the dense layers `hidden`, `churn`, `purchases`, `spend`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = dict[str, Array]

HEADS = {"churn": 1.0, "purchases": 0.3, "spend": 0.3}  # and the weight of each one's loss


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


# The cells. A step gives the new states and what its derivative needs; a derivative takes the gradient of the new
# states and gives those of the step, of the old states, of kernel, recurrent and bias.


def simple_rnn(step: Array, states: tuple[Array, ...], weights: Arrays) -> tuple[tuple[Array, ...], Any]:
    """Elman (1990): `h' = tanh(x W + h U + b)`."""
    (state,) = states
    new = np.tanh(step @ weights["kernel"] + state @ weights["recurrent"] + weights["bias"])
    return (new,), (step, state, new)


def simple_rnn_gradient(
    above: tuple[Array, ...], kept: Any, weights: Arrays
) -> tuple[Array, tuple[Array, ...], Arrays]:
    step, state, new = kept
    inner = above[0] * (1 - new**2)
    return (
        weights["kernel"] @ inner,
        (weights["recurrent"] @ inner,),
        {"kernel": np.outer(step, inner), "recurrent": np.outer(state, inner), "bias": inner},
    )


def gru(step: Array, states: tuple[Array, ...], weights: Arrays) -> tuple[tuple[Array, ...], Any]:
    """Cho et al. (2014) with the reset gate after the recurrent matrix, as Keras, cuDNN and PyTorch have it:
    `z, r = sigmoid(...)`, `n = tanh(x W + b + r (h U + b'))`, `h' = z h + (1 - z) n`; the bias has both rows.
    """
    (state,) = states
    from_step = np.split(step @ weights["kernel"] + weights["bias"][0], 3)
    from_state = np.split(state @ weights["recurrent"] + weights["bias"][1], 3)
    update, reset = (sigmoid(from_step[gate] + from_state[gate]) for gate in (0, 1))
    candidate = np.tanh(from_step[2] + reset * from_state[2])
    return (update * state + (1 - update) * candidate,), (step, state, update, reset, candidate, from_state[2])


def gru_gradient(above: tuple[Array, ...], kept: Any, weights: Arrays) -> tuple[Array, tuple[Array, ...], Arrays]:
    step, state, update, reset, candidate, recalled = kept
    to_candidate = above[0] * (1 - update) * (1 - candidate**2)
    to_update = above[0] * (state - candidate) * update * (1 - update)
    to_reset = to_candidate * recalled * reset * (1 - reset)
    from_step = np.concatenate([to_update, to_reset, to_candidate])
    from_state = np.concatenate([to_update, to_reset, to_candidate * reset])
    return (
        weights["kernel"] @ from_step,
        (above[0] * update + weights["recurrent"] @ from_state,),
        {
            "kernel": np.outer(step, from_step),
            "recurrent": np.outer(state, from_state),
            "bias": np.stack([from_step, from_state]),
        },
    )


def lstm(step: Array, states: tuple[Array, ...], weights: Arrays) -> tuple[tuple[Array, ...], Any]:
    """Hochreiter and Schmidhuber (1997) with a forget gate: `c' = f c + i g`, `h' = o tanh(c')`."""
    state, cell = states
    gates = np.split(step @ weights["kernel"] + state @ weights["recurrent"] + weights["bias"], 4)
    enter, forget, leave = (sigmoid(gates[gate]) for gate in (0, 1, 3))
    candidate = np.tanh(gates[2])
    new_cell = forget * cell + enter * candidate
    return (leave * np.tanh(new_cell), new_cell), (step, state, cell, enter, forget, candidate, leave, new_cell)


def lstm_gradient(above: tuple[Array, ...], kept: Any, weights: Arrays) -> tuple[Array, tuple[Array, ...], Arrays]:
    step, state, cell, enter, forget, candidate, leave, new_cell = kept
    shown = np.tanh(new_cell)
    to_cell = above[1] + above[0] * leave * (1 - shown**2)
    inner = np.concatenate(
        [
            to_cell * candidate * enter * (1 - enter),
            to_cell * cell * forget * (1 - forget),
            to_cell * enter * (1 - candidate**2),
            above[0] * shown * leave * (1 - leave),
        ]
    )
    return (
        weights["kernel"] @ inner,
        (weights["recurrent"] @ inner, to_cell * forget),
        {"kernel": np.outer(step, inner), "recurrent": np.outer(state, inner), "bias": inner},
    )


CELLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "simple_rnn": (simple_rnn, simple_rnn_gradient),
    "lstm": (lstm, lstm_gradient),
    "gru": (gru, gru_gradient),
}


def first_states(cell: str, weights: Arrays) -> tuple[Array, ...]:
    return (weights["h"], weights["c"]) if cell == "lstm" else (weights["h"],)


def run(cell: str, steps: Array, weights: Arrays) -> Iterator[tuple[tuple[Array, ...], Any]]:
    """The states after each of `steps` [steps, channels], with what the derivative needs."""
    states = first_states(cell, weights)
    for step in steps:
        states, kept = CELLS[cell][0](step, states, weights)
        yield states, kept


def answers(cell: str, arrays: Arrays, weights: Arrays) -> Arrays:
    """Each head's answers [histories, asked, horizons]."""
    shape = (*arrays["position"].shape, weights["churn_bias"].size)
    given = {head: np.zeros(shape) for head in HEADS}
    for row, steps in enumerate(arrays["numeric"]):
        states = [states for states, _ in run(cell, steps, weights)]
        for place, position in enumerate(arrays["position"][row]):
            seen = np.concatenate([states[position][0], arrays["context"][row, place]])
            hidden = np.maximum(seen @ weights["hidden_kernel"] + weights["hidden_bias"], 0)
            for head in HEADS:
                given[head][row, place] = hidden @ weights[f"{head}_kernel"] + weights[f"{head}_bias"]
    return given


def loss(cell: str, arrays: Arrays, weights: Arrays) -> float:
    """The mean cross-entropy of churn and, by their weights, the deviances of purchases (Poisson) and spend (Tweedie,
    power 1.5), each over the observed labels.
    """
    total = 0.0
    for head, given in answers(cell, arrays, weights).items():
        observed = np.isfinite(arrays[head])
        label, answer = arrays[head][observed], given[observed]
        if head == "churn":
            each = np.logaddexp(0, answer) - label * answer
        elif head == "purchases":
            each = np.exp(answer) - label * answer
        else:
            each = 2 * np.exp(answer / 2) + 2 * label * np.exp(-answer / 2)
        total += HEADS[head] * float(each.mean())
    return total


def gradient(cell: str, arrays: Arrays, weights: Arrays) -> Arrays:
    """The derivative of `loss` for every weight, backwards through time, by hand."""
    total = {name: np.zeros_like(value) for name, value in weights.items()}
    observed = {head: np.isfinite(arrays[head]) for head in HEADS}
    for row, steps in enumerate(arrays["numeric"]):
        path = list(run(cell, steps, weights))
        from_heads = [np.zeros_like(weights["h"]) for _ in steps]
        for place, position in enumerate(arrays["position"][row]):
            seen = np.concatenate([path[position][0][0], arrays["context"][row, place]])
            before = seen @ weights["hidden_kernel"] + weights["hidden_bias"]
            hidden = np.maximum(before, 0)
            to_hidden = np.zeros_like(hidden)
            for head, weight in HEADS.items():
                answer = hidden @ weights[f"{head}_kernel"] + weights[f"{head}_bias"]
                label = np.nan_to_num(arrays[head][row, place])
                if head == "churn":
                    slope = sigmoid(answer) - label
                elif head == "purchases":
                    slope = np.exp(answer) - label
                else:
                    slope = np.exp(answer / 2) - label * np.exp(-answer / 2)
                slope = weight * slope * observed[head][row, place] / observed[head].sum()
                total[f"{head}_kernel"] += np.outer(hidden, slope)
                total[f"{head}_bias"] += slope
                to_hidden += weights[f"{head}_kernel"] @ slope
            to_hidden *= before > 0
            total["hidden_kernel"] += np.outer(seen, to_hidden)
            total["hidden_bias"] += to_hidden
            from_heads[position] += (weights["hidden_kernel"] @ to_hidden)[: len(weights["h"])]
        above = tuple(np.zeros_like(state) for state in first_states(cell, weights))
        for (_, kept), from_head in zip(reversed(path), reversed(from_heads), strict=True):
            _, above, own = CELLS[cell][1]((above[0] + from_head, *above[1:]), kept, weights)
            for name, value in own.items():
                total[name] += value
        for name, value in zip(("h", "c"), above, strict=False):
            total[name] += value
    return total


def numeric_gradient(cell: str, arrays: Arrays, weights: Arrays, step: float = 1e-5) -> Arrays:
    """The same by central differences of `loss`, one number at a time."""
    slopes = {}
    for name, value in weights.items():
        slopes[name] = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            moved = [dict(weights), dict(weights)]
            for side, sign in zip(moved, (1, -1), strict=True):
                side[name] = value.copy()
                side[name][place] += sign * step
            slopes[name][place] = (loss(cell, arrays, moved[0]) - loss(cell, arrays, moved[1])) / (2 * step)
    return slopes


def first_update(weights: Arrays, gradients: Arrays, optimizer: str, learning_rate: float, decay: float) -> Arrays:
    """The weights after the first step of AdamW or Adam (beta .9 and .999, epsilon 1e-7 beside the uncorrected root),
    or of SGD with Nesterov's momentum .9. Each gradient is clipped to a norm of 1; the decay, which Adam has not, is
    apart from the gradient.
    """
    updated = {}
    for name, weight in weights.items():
        slope = gradients[name] / max(1.0, float(np.linalg.norm(gradients[name])))
        kept = weight * (1 - learning_rate * decay * (optimizer != "adam"))
        if optimizer == "sgd":
            updated[name] = kept - learning_rate * (1 + 0.9) * slope
        else:
            rate = learning_rate * math.sqrt(1 - 0.999) / (1 - 0.9)
            updated[name] = kept - rate * 0.1 * slope / (np.sqrt(0.001 * slope**2) + 1e-7)
    return updated
