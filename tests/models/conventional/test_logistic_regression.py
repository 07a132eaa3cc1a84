"""The strength of logistic regression, anywhere in a range, and the curves that its space asks for."""

import numpy as np
import pytest

from models.conventional.logistic_regression import LogisticRegression
from models.line import STRENGTHS, STRONGEST, WEAKEST, best_strength
from tests.support.worlds.model_worlds import HORIZON, halves, steady_world


@pytest.mark.parametrize("least", [0.0004, 0.002, 0.05, 0.2, 6.0])
def test_the_strength_of_least_loss_is_found_within_and_beyond_those_that_are_tried_first(least):
    strength, losses = best_strength(lambda strength: np.log(strength / least) ** 2)
    assert abs(np.log(strength / least)) < 0.2
    falls, place = np.diff(losses) < 0, int(np.argmin(losses))
    assert falls[:place].all()
    assert not falls[place:].any()
    assert len(losses) <= len(STRENGTHS) + 9


def test_a_loss_that_falls_for_ever_ends_the_search():
    assert best_strength(lambda strength: strength)[0] <= WEAKEST
    assert best_strength(lambda strength: -strength)[0] >= STRONGEST


def test_the_number_of_knots_is_that_of_evenly_spaced_quantiles():
    train, valid = halves(steady_world())
    by_number, by_list, none = (LogisticRegression((HORIZON,), 1, knots=knots) for knots in (3, [0.25, 0.5, 0.75], 0))
    for model in (by_number, by_list, none):
        model.fit(train, valid)
    assert by_number.basis == by_list.basis
    assert none.basis.knots == [[] for _ in none.basis.columns]
    assert len(none.weights["churn"][0]) < len(by_number.weights["churn"][0])


def test_more_columns_can_be_bent():
    train, valid = halves(steady_world())
    few, more = (LogisticRegression((HORIZON,), 1, more_bent=more) for more in (False, True))
    for model in (few, more):
        model.fit(train, valid)
    names = few.preparation.names
    assert {names[column] for column in more.basis.columns} - {names[column] for column in few.basis.columns} == {
        "events_total"
    }
