"""Subgroups hold every example once a dimension, and a difference shows where it was planted."""

import numpy as np
import pandas as pd
import pytest

from models.evaluation.intervals import customer_weights
from models.evaluation.metrics import example_log_loss
from models.evaluation.subgroups import subgroup_differences, subgroups


def world(rows: int = 900) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    aggregates = pd.DataFrame(
        {"events_total": random.integers(1, 60, rows), "days_since_last_event": random.uniform(0.01, 90, rows)}
    )
    return aggregates, random.random(rows) < 0.7, random.integers(2, size=rows).astype(float)


def test_every_example_is_in_one_subgroup_of_each_dimension() -> None:
    aggregates, seen, _ = world()
    for named in subgroups(aggregates, seen).values():
        assert (np.sum(list(named.values()), axis=0) == 1).all()


def test_a_planted_difference_shows_in_its_subgroup_alone() -> None:
    aggregates, seen, labels = world()
    recurrent = np.full(len(labels), 0.5)
    long_history = aggregates["events_total"].to_numpy() > 20
    recurrent[long_history] = np.where(labels[long_history] == 1, 0.7, 0.3)
    customers = np.arange(len(labels)).astype(str).astype(object)
    weights = customer_weights(customers, 500, 1)
    constant = np.full(len(labels), 0.5)
    found = subgroup_differences(subgroups(aggregates, seen), labels, recurrent, constant, weights)
    by_name = {part.name: part for part in found if part.dimension == "length of history"}
    expected = np.log(0.7) - np.log(0.5)
    assert by_name["more than 20 events"].difference.value == pytest.approx(expected)
    assert by_name["1 to 5 events"].difference.value == pytest.approx(0)
    whole = example_log_loss(labels, np.full(len(labels), 0.5)) - example_log_loss(labels, recurrent)
    parts = sum(part.examples * (part.difference.value or 0) for part in by_name.values())
    assert parts == pytest.approx(whole.sum())
