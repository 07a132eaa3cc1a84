"""Elman, LSTM and GRU, through the whole network: answers, gradients and one update against plain NumPy, its gradients
against numeric differences, and all of it against PyTorch with copied weights, where PyTorch is installed.
"""

import importlib.util
import math

import numpy as np

from tests.support import reference
from tests.support.cell_cases import Case, case
from tests.support.reference import Arrays

REFERENCE, TORCH = 1e-4, 1e-5  # relative: the norm of the difference over the norm
SEEDS = (1, 2, 3)
RATE, DECAY = 0.05, 0.5
OPTIMIZERS = ("adamw", "adam", "sgd")


def main() -> bool:
    torch = importlib.util.find_spec("torch") is not None
    worst = {"NumPy": 0.0, "numeric": 0.0, "PyTorch": 0.0 if torch else math.nan}
    for cell in reference.CELLS:
        found: dict[str, float] = {}
        for seed in SEEDS:
            for what, difference in (
                _against_numpy(cell, seed) | (_against_torch(cell, seed) if torch else {})
            ).items():
                found[what] = max(found.get(what, 0.0), difference)
        for what, difference in found.items():
            peer = what.split(":")[0]
            worst[peer] = max(worst[peer], difference)
            print(f"{cell:10s} {what:32s} {difference:.1e}")
    if not torch:
        print("PyTorch is not installed here: SKIPPED, nothing was compared with it (pip install torch to do so)")
    told = ", ".join(f"{peer} {'skipped' if math.isnan(value) else f'{value:.1e}'}" for peer, value in worst.items())
    print(f"largest relative difference: {told}")
    return max(worst["NumPy"], worst["numeric"]) <= REFERENCE and not worst["PyTorch"] > TORCH


def _against_numpy(cell: str, seed: int) -> dict[str, float]:
    made = case(cell, seed)
    values = made.values()
    by_hand = reference.gradient(cell, made.arrays, values)
    numeric = reference.numeric_gradient(cell, made.arrays, values)
    return {
        "NumPy: forward": apart(_forward(made), reference.answers(cell, made.arrays, values)),
        "NumPy: gradient": apart(_gradient(made), by_hand),
        "numeric: gradient of NumPy": apart(by_hand, numeric),
        "numeric: gradient of Keras": apart(_gradient(made), numeric),
        **{
            f"NumPy: one update, {optimizer}": apart(
                _updated(cell, seed, optimizer),
                reference.first_update(values, by_hand, optimizer, RATE, DECAY),
            )
            for optimizer in OPTIMIZERS
        },
    }


def _against_torch(cell: str, seed: int) -> dict[str, float]:
    from tests.support.torch_peer import Peer

    made = case(cell, seed)
    answers = {head: answer.detach().numpy() for head, answer in Peer(made).answers().items()}
    found = {
        "PyTorch: forward": apart(_forward(made), answers),
        "PyTorch: gradient": apart(_gradient(made), Peer(made).gradient()),
    }
    for optimizer in OPTIMIZERS:
        peer = Peer(made)
        peer.gradient()
        found[f"PyTorch: one update, {optimizer}"] = apart(
            _updated(cell, seed, optimizer), peer.update(optimizer, RATE, DECAY)
        )
    return found


def _forward(made: Case) -> Arrays:
    inputs = {name: tensor for name, tensor in made.tensors().items() if name in made.network.input}
    return {head: answer.numpy() for head, answer in made.network(inputs).items()}


def _gradient(made: Case) -> Arrays:
    return made.loss_and_gradients()[1]


def _updated(cell: str, seed: int, optimizer: str) -> Arrays:
    """The weights after one update of a fresh case."""
    fresh = case(cell, seed)
    fresh.learn(optimizer, RATE, DECAY)
    return fresh.values()


def apart(ours: Arrays, theirs: Arrays) -> float:
    """The largest of the relative differences of the arrays of one name."""
    assert ours.keys() == theirs.keys()
    return max(float(np.linalg.norm(ours[name] - theirs[name]) / np.linalg.norm(theirs[name])) for name in ours)
