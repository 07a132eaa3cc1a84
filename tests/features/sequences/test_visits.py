"""Visits: every event in one of them, none over midnight, and the same whether read at once or night by night."""

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import Sequences
from features.sequences.visits import EVENTS, Counted, fitting_step, values_to_count, visits

MINUTE, DAY = 60 * 1_000_000, 86_400 * 1_000_000
NONE: Counted = {}


def histories(*minutes: list[int]) -> Sequences:
    """Events at these minutes, each of amount 1, with a kind each; an example a history that sees all of it."""
    times = np.concatenate([np.asarray(own, np.int64) for own in minutes]) * MINUTE
    lengths = np.array([len(own) for own in minutes])
    return Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        event_time=times,
        numeric={"amount": np.ones(len(times)), "size": np.where(np.arange(len(times)) % 2, 2.0, np.nan)},
        categorical={"event_type": (np.arange(len(times), dtype=np.int32) % 2, ["look", "buy"])},
        history=np.arange(len(minutes)),
        length=lengths.astype(np.int64),
    )


# Two sessions on the first day, one over midnight, and a customer who came once.
SEVERAL = histories([0, 10, 20, 60, 1_435, 1_445], [2_000], [2_001, 2_002])


def test_a_pause_ends_a_session_and_so_does_midnight() -> None:
    read = visits(SEVERAL, "session", NONE)
    assert (read.event_time // MINUTE).tolist() == [20, 60, 1_435, 1_445, 2_000, 2_002]
    assert read.numeric[EVENTS].tolist() == read.numeric["amount"].tolist() == [3, 1, 1, 1, 1, 2]
    assert read.numeric["size"] == pytest.approx([2, 2, np.nan, 2, np.nan, 2], nan_ok=True)
    assert read.categorical["event_type"][0].tolist() == [0, 1, 0, 1, 0, 0]
    assert read.offsets.tolist() == [0, 4, 5, 6]
    assert read.length.tolist() == [4, 1, 1]


def test_a_day_is_one_step() -> None:
    read = visits(SEVERAL, "day", NONE)
    assert read.numeric[EVENTS].tolist() == [5, 1, 1, 2]
    assert read.length.tolist() == [2, 1, 1]
    assert visits(SEVERAL, "event", NONE) is SEVERAL


def test_an_example_sees_the_visits_before_its_cutoff() -> None:
    earlier = SEVERAL.pointed(np.array([0, 0, 2]), np.array([3, 5, 2]))
    assert visits(earlier, "session", NONE).length.tolist() == [1, 3, 1]
    assert visits(earlier, "day", NONE).length.tolist() == [1, 1, 1]


def test_histories_without_a_step_stay_without() -> None:
    read = visits(SEVERAL.only(np.array([True, True, True]), SEVERAL.event_time >= 2_001 * MINUTE), "session", NONE)
    assert read.offsets.tolist() == [0, 0, 0, 1]
    nothing = SEVERAL.slice(0, 0)
    assert visits(nothing, "day", NONE).offsets.tolist() == [0]


def test_the_events_of_each_value_are_counted_in_every_visit() -> None:
    read = visits(SEVERAL, "day", {"event_type": ["buy", "never"], "never": ["there"]})
    assert read.numeric["event_type=buy"].tolist() == [2, 1, 0, 1]
    assert read.numeric["event_type=never"].tolist() == read.numeric["never=there"].tolist() == [0, 0, 0, 0]


def test_frequent_values_are_counted_and_what_no_example_sees_is_not() -> None:
    often = histories(list(range(0, 60_000, 1_000)), list(range(0, 60_000, 1_000)))
    assert values_to_count(often) == {"event_type": ["buy", "look"]}
    assert values_to_count(often.pointed(np.array([0]), np.array([30]))) == {}


def test_sessions_are_taken_where_they_halve_the_number_of_steps() -> None:
    assert fitting_step(histories([0, 2_000, 2_010, 5_000])) == "event"
    burst = histories(np.repeat(np.arange(3) * 1_440, 5) + np.tile(np.arange(5), 3))
    assert fitting_step(burst) == "session"
    spread = histories(np.concatenate([np.arange(0, 600, 100) + day * 1_440 for day in range(3)]))
    assert fitting_step(spread) == "event"
    twice = replace(spread, event_time=np.repeat(spread.event_time[::2], 2))
    assert fitting_step(twice) == "session"


def test_what_no_example_sees_does_not_choose_the_step() -> None:
    later = histories([0, 2_000, 5_000, *range(9_000, 9_030)])
    assert fitting_step(later) == "session"
    assert fitting_step(later.pointed(np.array([0]), np.array([3]))) == "event"
