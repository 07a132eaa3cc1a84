"""Which pieces of information models read, chosen once for both sides before any test, by one cheap model of each."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset, Labels
from models.held_out import Parts
from models.information import PIECES, varies
from models.labels import held_out_labels
from models.numerics import beyond_doubt, intercept_adjusted, log_losses, logit, sigmoid, whose_labels
from models.spec import ModelSpec

REPRESENTATIVES: dict[str, dict[str, Any]] = {  # of the side without memory, and of the one with it
    "lightgbm": {"bags": 1},
    "gru": {"max_epochs": 6},
}


def choose_information(
    parts: Parts, horizon_index: int, random_state: int, decided: Mapping[str, bool | None]
) -> dict[str, bool]:
    """Which of PIECES models read: as `decided` says; else, one piece after the other, whether by reading it neither
    side has a higher intercept-adjusted log loss on validation, and the mean of the two sides is lower beyond doubt,
    with customers as the units. Off where the data do not hold a piece, and where it says the same of all examples, as
    the calendar of weekly cutoffs within one year does.
    """
    train, valid = (_at_horizon(data, horizon_index) for data in (parts.train, parts.valid))
    customer = whose_labels(held_out_labels(valid.labels).churn, valid.customer_id)
    chosen = {piece: bool(decided.get(piece)) for piece in PIECES}

    @cache
    def losses(name: str, reads: frozenset[str]) -> Floats:
        switches = {piece: piece in reads for piece in PIECES}
        return _losses(ModelSpec(name, REPRESENTATIVES[name] | switches), train, valid, random_state)

    def helps(piece: str) -> bool:
        without = frozenset(name for name in PIECES if chosen[name])
        gains: list[Floats] = []
        for name in REPRESENTATIVES:
            gains.append(losses(name, without) - losses(name, without | {piece}))
            if gains[-1].mean() < 0:  # one network's loss moves by chance, by more than many a piece moves it
                return False
        return beyond_doubt(np.mean(gains, axis=0), customer)

    for piece in PIECES:
        if decided.get(piece) is None and varies(train, piece):
            chosen[piece] = helps(piece)
    return chosen


def _at_horizon(data: Dataset, horizon_index: int) -> Dataset:
    """The same examples with the labels of one horizon."""
    labels, one = held_out_labels(data.labels), [horizon_index]
    chosen = Labels(labels.churn[:, one], labels.purchases[:, one], labels.spend[:, one])
    return replace(data, horizons=(data.horizons[horizon_index],), labels=chosen, earlier=None)


def _losses(spec: ModelSpec, train: Dataset, valid: Dataset, random_state: int) -> Floats:
    """Of each observed label of `valid`, in nats."""
    model = spec.build(train.horizons, random_state)
    model.fit(train, valid)
    churn = held_out_labels(valid.labels).churn
    return log_losses(churn, sigmoid(intercept_adjusted(churn, logit(model.predict(valid).churn_probability))))
