"""The limits of chance are those of the laws that they are named after."""

import numpy as np
import pytest

from pipeline.validation.chance import RARE, fewest, most, share_noise, silence


@pytest.mark.parametrize("expected", [0.5, 5.0, 17.0, 400.0, 2e5])
def test_counts_beyond_the_limits_are_rare(expected):
    counts = np.random.default_rng(1).poisson(expected, 200_000)
    assert (counts < fewest(expected)).mean() < 2 * RARE
    assert (counts > most(expected)).mean() < 2 * RARE
    if expected > 10:
        near = fewest(expected) + expected**0.5, most(expected) - expected**0.5
        assert ((counts < near[0]).mean() > RARE) & ((counts > near[1]).mean() > RARE)


def test_of_nothing_nothing_is_expected():
    assert (fewest(0), most(0), silence(0)) == (0, 0, float("inf"))


def test_few_events_are_silent_for_long_and_move_shares_far():
    assert silence(0.5) == pytest.approx(18.4, abs=0.1)
    assert share_noise(17) > 0.5 > share_noise(40)
