"""Who is judged, on which examples, and what is left to the next training; a small simulation of years."""

import numpy as np
import pytest

from models.evaluation.intervals import Interval
from models.evaluation.promotion.nomination import Contest, Nomination, trainings_needed
from tests.checks.evidence.promotion import Calendar, promoted_in

AHEAD, LEVEL = Interval(0.1, 0.05, 0.15), Interval(0.0, -0.05, 0.05)
FIRST = Nomination("gru", "champion", 1, cutoff=100, tested=72)


def contest(cutoff=130, nomination=FIRST, tested=(81, 102), champion="champion"):
    return Contest(champion, cutoff, np.array(tested), 28, 2, nomination)


def test_a_recipe_that_is_ahead_is_nominated():
    first = contest(100, None, (65, 72))
    assert first.nominee is None
    assert first.trainings("gru", LEVEL) == 0
    assert first.trainings("gru", Interval(0.1, None, None)) == 0
    assert first.trainings("gru", AHEAD) == 1
    assert first.after("gru", 1) == FIRST
    assert first.after("gru", 0) is None


def test_a_nominee_is_judged_first_and_counts_on():
    second = contest()
    assert second.nominee == "gru"
    assert second.trainings("gru", AHEAD) == 2
    assert second.trainings("lstm", AHEAD) == 1, "another recipe begins"
    assert second.after("gru", 2) == Nomination("gru", "champion", 2, 130, 102)
    assert second.after("gru", 0) is None, "a nominee that is not ahead again is none any longer"
    assert second.after("lstm", 1) == Nomination("lstm", "champion", 1, 130, 102)


@pytest.mark.parametrize("early", [contest(cutoff=127), contest(tested=(65, 72))])
def test_a_training_too_early_for_later_examples_changes_nothing(early):
    assert early.nominee is None
    assert early.trainings("gru", AHEAD) == 1
    assert early.after("gru", 0) == FIRST
    assert early.after("lstm", 1) == FIRST


def test_a_nomination_against_another_champion_is_void():
    other = contest(champion="another")
    assert other.nominee is None
    assert other.trainings("gru", AHEAD) == 1
    assert other.after("gru", 0) is None


def test_one_seed_takes_more_trainings_than_several():
    assert trainings_needed(1) > trainings_needed(2) == trainings_needed(5) > 1


def test_an_equal_recipe_is_seldom_promoted_and_a_better_one_within_a_year():
    calendar = Calendar.of(windows=1, seeds=2, customers=100)
    random = np.random.default_rng(3)
    by_chance = [promoted_in(calendar, 1.0, 0.0, random) is not None for _ in range(40)]
    assert sum(by_chance) <= 4  # more than that in one of a thousand runs, if 2 % are the truth
    better = [promoted_in(calendar, 1.0, 6.0, random) for _ in range(10)]
    assert all(training is not None and training >= trainings_needed(2) for training in better)
