"""The survival curve: its days, a hazard's survival, and the way through published probabilities."""

import numpy as np
import pytest

from models.survival import MOST_DAYS, curve_days, piecewise_survival, through


def test_a_curve_has_every_day_or_a_hundred() -> None:
    assert curve_days(28).tolist() == list(range(1, 29))
    year = curve_days(365)
    assert (len(year), year[0], year[-1]) == (MOST_DAYS, 3, 365)
    assert set(np.diff(year)) == {3, 4}


def test_survival_is_the_integral_of_the_rates_after_the_silence() -> None:
    rates, begins = np.array([[0.5, 0.1, 0.02], [0.3, 0.3, 0.3]]), [0.0, 2.0, 10.0]
    survival = piecewise_survival(rates, begins, np.array([1.0, 4.0]), np.array([1, 3, 20]))
    hazard = [[0.5, 0.5 + 2 * 0.1, 0.5 + 8 * 0.1 + 11 * 0.02], [0.3, 0.9, 6.0]]
    assert survival == pytest.approx(np.exp(-np.array(hazard)))


def test_a_curve_goes_through_what_is_published_and_keeps_its_course_between() -> None:
    days, horizons = np.arange(1, 29), (28, 14)
    raw = np.exp(-np.array([[0.1], [0.02]]) * np.sqrt(days))
    published = np.array([[0.3, 0.6], [0.9, 1.0]])  # nothing can come of the second within 14 days
    curve = through(published, horizons, raw, days)
    assert curve[:, [27, 13]] == pytest.approx(published)
    assert (np.diff(curve, axis=1) <= 0).all()
    assert np.log(curve[0, :14]) / np.log(0.6) == pytest.approx(np.sqrt(days[:14] / 14))
    assert (curve[1, :14] == 1).all()
    assert through(raw[:, [27, 13]], horizons, raw, days) == pytest.approx(raw)


def test_without_a_hazard_between_two_horizons_that_of_the_probabilities_is_even() -> None:
    curve = through(np.array([[0.25]]), (2,), np.array([[1.0, 1.0]]), np.array([1, 2]))
    assert curve.tolist() == [pytest.approx([0.5, 0.25])]
