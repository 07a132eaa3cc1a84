"""Whether models read the calendar, chosen once for both sides before any test, by one cheap model of each."""

from dataclasses import replace
from typing import Any

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset, Labels
from models.calendar import varies
from models.held_out import Parts
from models.labels import held_out_labels
from models.numerics import beyond_doubt, intercept_adjusted, log_losses, logit, sigmoid, whose_labels
from models.spec import ModelSpec

REPRESENTATIVES: dict[str, dict[str, Any]] = {  # of the side without memory, and of the one with it
    "lightgbm": {"bags": 1},
    "gru": {"max_epochs": 6},
}


def choose_calendar(parts: Parts, horizon_index: int, random_state: int) -> bool:
    """Whether the calendar, read by both sides, lowers the intercept-adjusted log loss on validation beyond doubt: the
    mean of the two sides', with customers as the units. Off where the data do not hold it, and where it says the same
    of all examples, as weekly cutoffs within one year do.
    """
    if not varies(parts.train):
        return False
    train, valid = (_at_horizon(data, horizon_index) for data in (parts.train, parts.valid))
    losses = {
        calendar: np.mean(
            [
                _losses(ModelSpec(name, {**recipe, "calendar": calendar}), train, valid, random_state)
                for name, recipe in REPRESENTATIVES.items()
            ],
            axis=0,
        )
        for calendar in (False, True)
    }
    return beyond_doubt(
        losses[False] - losses[True], whose_labels(held_out_labels(valid.labels).churn, valid.customer_id)
    )


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
