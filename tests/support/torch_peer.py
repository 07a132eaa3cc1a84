"""The same small networks in PyTorch with copied weights: an implementation by others of the cells and optimizers.

PyTorch is not among this project's requirements: only `make check NAME=reference-equality` imports this, where it is.
"""

import math
from typing import Any

import numpy as np
import torch

from tests.support.cell_cases import Case
from tests.support.reference import HEADS, Arrays

LAYERS = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class Peer:
    """`case`'s network: the layer from torch.nn, the dense layers by their formula, loss and gradient by autograd."""

    def __init__(self, case: Case) -> None:
        self.case = case
        values = case.values()
        self.layer = LAYERS[case.cell](values["kernel"].shape[0], len(values["h"]), batch_first=True).double()
        own = ("kernel", "recurrent", "bias")
        parameters = {
            "weight_ih_l0": _torch_order(case.cell, values["kernel"]).T,
            "weight_hh_l0": _torch_order(case.cell, values["recurrent"]).T,
            **_biases(case.cell, values["bias"]),
        }
        with torch.no_grad():
            for name, value in parameters.items():
                getattr(self.layer, name).copy_(torch.tensor(np.ascontiguousarray(value)))
        if case.cell != "gru":  # one bias in Keras, two in PyTorch: the second stays 0
            self.layer.bias_hh_l0.requires_grad_(False)
        self.free = {name: torch.tensor(value, requires_grad=True) for name, value in values.items() if name not in own}

    def answers(self) -> dict[str, Any]:
        arrays, free = self.case.arrays, self.free
        first = [free[part].expand(1, len(arrays["numeric"]), -1).contiguous() for part in ("h", "c") if part in free]
        states, _ = self.layer(torch.tensor(arrays["numeric"]), tuple(first) if len(first) > 1 else first[0])
        position = torch.tensor(arrays["position"])[:, :, None].expand(-1, -1, states.shape[-1])
        seen = torch.cat([states.gather(1, position), torch.tensor(arrays["context"])], dim=2)
        hidden = torch.relu(seen @ free["hidden_kernel"] + free["hidden_bias"])
        return {head: hidden @ free[f"{head}_kernel"] + free[f"{head}_bias"] for head in HEADS}

    def gradient(self) -> Arrays:
        total = torch.tensor(0.0, dtype=torch.float64)
        for head, answer in self.answers().items():
            label = torch.tensor(self.case.arrays[head])
            label, answer = label[label.isfinite()], answer[label.isfinite()]
            total = total + HEADS[head] * LOSSES[head](answer, label)
        total.backward()
        return self._in_keras_order(lambda parameter: parameter.grad)

    def update(self, optimizer: str, learning_rate: float, decay: float) -> Arrays:
        """The weights after one step of torch.optim, after `gradient`; each gradient clipped to a norm of 1."""
        parameters = [p for p in (*self.layer.parameters(), *self.free.values()) if p.requires_grad]
        if self.case.cell == "gru":
            # Keras clips the two rows of the GRU's bias as one variable.
            biases = [self.layer.bias_ih_l0, self.layer.bias_hh_l0]
            torch.nn.utils.clip_grad_norm_(biases, 1.0)
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_(parameter, 1.0)
        # PyTorch adds epsilon to the corrected root, Keras to the uncorrected one.
        epsilon = 1e-7 / math.sqrt(1 - 0.999)
        chosen: Any
        if optimizer == "adamw":
            chosen = torch.optim.AdamW(parameters, learning_rate, eps=epsilon, weight_decay=decay)
        elif optimizer == "adam":
            chosen = torch.optim.Adam(parameters, learning_rate, eps=epsilon)
        else:
            with torch.no_grad():  # PyTorch's own decay of SGD goes through the gradient
                for parameter in parameters:
                    parameter.mul_(1 - learning_rate * decay)
            chosen = torch.optim.SGD(parameters, learning_rate, momentum=0.9, nesterov=True)
        chosen.step()
        return self._in_keras_order(lambda parameter: parameter)

    def _in_keras_order(self, of: Any) -> Arrays:
        layer, cell = self.layer, self.case.cell
        found = {name: of(value).detach().numpy() for name, value in self.free.items()}
        kernel, recurrent, first = (
            _torch_order(cell, of(getattr(layer, name)).detach().numpy().T)
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
        )
        bias = first
        if cell == "gru":
            bias = np.stack([first, _torch_order(cell, of(layer.bias_hh_l0).detach().numpy())])
        return {**found, "kernel": kernel, "recurrent": recurrent, "bias": bias}


def _torch_order(cell: str, value: np.ndarray) -> np.ndarray:
    """The GRU's gates stand in another order: update and reset change places (which is its own inverse)."""
    if cell != "gru":
        return value
    update, reset, candidate = np.split(value, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1)


def _biases(cell: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    first, second = bias if cell == "gru" else (bias, np.zeros_like(bias))
    return {"bias_ih_l0": _torch_order(cell, first), "bias_hh_l0": _torch_order(cell, second)}


def _tweedie(answer: Any, label: Any) -> Any:
    return (2 * torch.exp(answer / 2) + 2 * label * torch.exp(-answer / 2)).mean()


LOSSES: dict[str, Any] = {
    "churn": torch.nn.functional.binary_cross_entropy_with_logits,
    "purchases": torch.nn.functional.poisson_nll_loss,  # of a mean given by its logarithm
    "spend": _tweedie,
}
