"""A history read in parts, from state to state, gives the predictions of the history read whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.arrays import Integers
from features.dataset import Sequences
from features.sequences.encoding import StateAtCutoff
from features.time import NEVER
from tests.support.untrained import untrained
from tests.support.worlds.model_worlds import steady_world


def between(sequences: Sequences, history: Integers, begin: Integers, end: Integers) -> Sequences:
    """Of each `history` the steps `begin:end`."""
    first = sequences.offsets[history]
    steps = np.concatenate([np.arange(*span) for span in zip(first + begin, first + end, strict=True)])
    return replace(
        sequences,
        offsets=np.concatenate([[0], np.cumsum(end - begin)]),
        event_time=sequences.event_time[steps],
        numeric={name: values[steps] for name, values in sequences.numeric.items()},
        categorical={name: (codes[steps], values) for name, (codes, values) in sequences.categorical.items()},
        history=np.arange(len(history)),
        length=end - begin,
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [("simple_rnn", {}), ("lstm", {"seeds": 2}), ("survival_gru", {"seeds": 2}), ("hybrid_gru", {"seeds": 2})],
)
def test_parts_say_what_the_whole_says(name: str, more: dict[str, Any]) -> None:
    world = steady_world(customers=40, horizons=(28, 14))
    model = untrained(name, world, units=5, **more)
    data = world.select(world.cutoff == world.cutoff.max())
    sequences, customers = data.sequences, len(data)
    random, stepper = np.random.default_rng(2), model.stepper()
    states, previous, begin = stepper.start(customers), np.full(customers, NEVER), np.zeros(customers, np.int64)
    for share in (0.3, 0.3, 1.0):  # a customer may have no event in a part
        end = begin + np.floor((sequences.length - begin) * np.minimum(random.random(customers) + share, 1.0) * share)
        end = sequences.length if share == 1.0 else end.astype(np.int64)
        states = stepper.advance(states, between(sequences, sequences.history, begin, end), previous)
        previous = np.where(end > 0, sequences.event_time[sequences.offsets[sequences.history] + end - 1], NEVER)
        begin = end
    said, whole = stepper.predict(states, StateAtCutoff.of(data), data.aggregates), model.predict(data)
    assert states.shape == (customers, stepper.width)
    assert whole.churn_probability.std() > 0
    assert said.expected_spend is not None
    assert whole.expected_spend is not None
    np.testing.assert_allclose(said.churn_probability, whole.churn_probability, rtol=0, atol=1e-6)
    np.testing.assert_allclose(said.expected_spend, whole.expected_spend, rtol=1e-5)
    survival = stepper.survival(states, StateAtCutoff.of(data), data.aggregates, np.array([1, 14, 28]))
    assert (survival is not None) == model.survives
    if name == "survival_gru":  # whose churn it is
        assert survival is not None
        np.testing.assert_allclose(survival[:, [2, 1]], whole.churn_probability, atol=1e-5)
        assert (survival[:, 0] > survival[:, 1]).all()
