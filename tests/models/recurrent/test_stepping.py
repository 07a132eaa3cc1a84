"""A history read in parts, from state to state, gives the predictions of the history read whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.arrays import Integers
from features.dataset import Sequences
from features.sequences.encoding import StateAtCutoff
from features.time import MICROSECONDS_A_DAY, NEVER
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


@pytest.mark.parametrize("step", ["session", "day"])
def test_nights_read_the_visits_that_the_whole_reads(step: str) -> None:
    world = steady_world(customers=30)
    every = np.repeat(np.arange(len(world.sequences.event_time)), 3)
    burst = world.sequences.with_steps(every, 3 * world.sequences.lengths)
    burst = replace(
        burst, event_time=burst.event_time + np.tile(np.arange(3), len(every) // 3) * MICROSECONDS_A_DAY // 400
    )
    world = replace(world, sequences=burst.pointed(world.sequences.history, 3 * world.sequences.length))
    model = untrained("survival_gru", world, units=5, seeds=1, step=step)
    data = world.select(world.cutoff == world.cutoff.max())
    sequences, stepper = data.sequences, model.stepper()
    states, previous = stepper.start(len(data)), np.full(len(data), NEVER)
    begin = np.zeros(len(data), np.int64)
    first = sequences.offsets[sequences.history]
    seen = sequences.length
    for before in (60, 30, 0):
        midnight = data.cutoff - before * MICROSECONDS_A_DAY
        own = [sequences.event_time[at : at + length] for at, length in zip(first, seen, strict=True)]
        end = np.array([np.searchsorted(times, until) for times, until in zip(own, midnight, strict=True)])
        states = stepper.advance(states, between(sequences, sequences.history, begin, end), previous)
        previous = np.where(end > 0, sequences.event_time[first + end - 1], NEVER)
        begin = end
    assert begin.tolist() == seen.tolist()
    said = stepper.predict(states, StateAtCutoff.of(data), data.aggregates).churn_probability
    whole = model.predict(data).churn_probability
    assert whole.std() > 0
    np.testing.assert_allclose(said, whole, rtol=0, atol=1e-6)
    assert model.in_steps(sequences).lengths.sum() * 2 < len(sequences.event_time)
