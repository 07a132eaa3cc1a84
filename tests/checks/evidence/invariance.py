"""Every model's score of a customer is its own: padding, the order of the batch and its size move none of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Integers
from features.dataset import Dataset
from models import MODELS, model_class
from models.base import Model
from models.networks.network_model import NetworkModel
from models.numerics import ordered_by_horizon, sigmoid
from tests.support.worlds.model_worlds import halves, steady_world

TOLERANCE = 1e-6
SPREAD = 0.01  # the least standard deviation of a model's scores: constant ones would be invariant for nothing
RUBBISH = 97  # steps of it after the longest history of every batch
HORIZONS = (28, 14)
SMALL = {"max_epochs": 3, "batch_size": 16}


def main() -> bool:
    train, valid = halves(steady_world(customers=240, horizons=HORIZONS))
    worst = 0.0
    for name in MODELS:
        kind = model_class(name)
        model = kind(HORIZONS, 5, **{key: value for key, value in SMALL.items() if key in kind.defaults})
        model.fit(train, valid)
        whole = model.predict(valid).churn_probability
        found = {what: float(np.abs(scores - whole).max()) for what, scores in _otherwise(model, valid)}
        print(f"{name:20s} " + "  ".join(f"{what} {difference:.1e}" for what, difference in found.items()), flush=True)
        worst = max(worst, *found.values())
        if whole.std() < SPREAD:
            print(f"{name}: its scores hardly differ from one another, so nothing is shown by them")
            return False
    print(f"largest movement of a score: {worst:.1e}")
    return worst <= TOLERANCE


def _otherwise(model: Model, data: Dataset) -> Iterator[tuple[str, Floats]]:
    """The same examples' scores, asked in other ways, in the same order."""
    order = np.random.default_rng(3).permutation(len(data))
    back = np.argsort(order)
    yield "order", model.predict(data.select(order)).churn_probability[back]
    for size in (1, 7, 64):
        rows = np.arange(len(data) if size > 1 else 60)
        pieces = [
            model.predict(data.select(rows[at : at + size])).churn_probability for at in range(0, len(rows), size)
        ]
        rest = model.predict(data).churn_probability[len(rows) :]
        yield f"size {size}", np.vstack([*pieces, rest])
    if isinstance(model, NetworkModel) and "sequences" in model.views:
        raw = model.forward(Padded(model._reader(data, None, training=False)))
        yield "padding", ordered_by_horizon(sigmoid(raw["churn"]), model.horizons)


@dataclass(frozen=True)
class Padded:
    """A reader that writes rubbish into all padding, and adds more of it at the end of every history."""

    inner: Any

    @property
    def examples(self) -> int:
        return int(self.inner.examples)

    def cut(self, *how: Any) -> list[Integers]:
        return list(self.inner.cut(*how))

    def read(self, batch: Integers) -> tuple[dict[str, NDArray[Any]], Integers]:
        arrays, example = self.inner.read(batch)
        random = np.random.default_rng(8)
        length = self.inner.chunks.length[batch]
        for name in ("numeric", "categorical"):
            wide = np.pad(arrays[name], ((0, 0), (0, RUBBISH), (0, 0)))
            padding = np.arange(wide.shape[1]) >= length[:, None]
            wide[padding] = random.normal(scale=5, size=wide[padding].shape) if name == "numeric" else 1
            arrays[name] = wide
        return arrays, example
