import numpy as np
import pytest
from sklearn.metrics import log_loss as oracle

from models.labels import base_rates
from models.networks.value_scale import ValueScale
from models.numerics import (
    beyond_doubt,
    intercept_adjusted,
    intercept_adjusted_loss,
    log_loss,
    log_losses,
    ordered_by_horizon,
    sigmoid,
    standard_error,
    whose_labels,
)

NAN = np.nan


def test_log_loss_is_that_of_scikit_learn_over_the_observed():
    churn, probability = np.array([[1.0], [0.0], [NAN], [1.0]]), np.array([[0.8], [0.3], [0.5], [0.4]])
    assert log_loss(churn, probability) == pytest.approx(oracle([1, 0, 1], [0.8, 0.3, 0.4]))
    assert log_loss(np.array([[1.0]]), np.array([[0.0]])) == pytest.approx(-np.log(1e-7))


def test_base_rates_leave_out_what_was_not_observed_and_are_never_certain():
    churn = np.array([[1.0, 0.0], [0.0, 0.0], [NAN, 0.0]])
    assert base_rates(churn) == pytest.approx([1.5 / 3, 0.5 / 4])


def test_intercept_adjusted_logits_have_the_base_rate_and_keep_their_order_whatever_level_they_came_at():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (500, 2))
    churn = (random.random((500, 2)) < sigmoid(logits)).astype(float)
    churn[::7, 1] = NAN
    for away in (-30.0, 0.0, 4.0):
        adjusted = intercept_adjusted(churn, logits + away)
        known = np.isfinite(churn[:, 1])
        assert sigmoid(adjusted[:, 0]).mean() == pytest.approx(base_rates(churn)[0])
        assert sigmoid(adjusted[known, 1]).mean() == pytest.approx(base_rates(churn)[1])
        assert np.diff(adjusted - logits, axis=0) == pytest.approx(0, abs=1e-9)
        assert intercept_adjusted_loss(churn, logits + away) == pytest.approx(intercept_adjusted_loss(churn, logits))
    assert intercept_adjusted_loss(churn, logits) < log_loss(churn, sigmoid(logits + 1))


def test_where_nothing_or_but_one_outcome_was_observed_levelling_stays_finite():
    logits = np.array([[1.0, 50.0], [2.0, -50.0]])
    assert intercept_adjusted(np.array([[NAN, 1.0], [NAN, 1.0]]), logits)[:, 0].tolist() == [1.0, 2.0]
    assert np.isfinite(intercept_adjusted(np.array([[NAN, 1.0], [NAN, 1.0]]), logits)).all()


def test_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_a_longer_horizon_never_has_the_higher_probability():
    assert ordered_by_horizon(np.array([[0.4, 0.3, 0.2]]), (90, 7, 28)).tolist() == [[0.2, 0.3, 0.2]]
    assert ordered_by_horizon(np.array([[0.1, 0.3, 0.2]]), (90, 7, 28)).tolist() == [[0.1, 0.3, 0.2]]


def test_values_go_to_multiples_of_their_mean_and_back():
    values = np.array([[0.0], [10.0], [200.0], [NAN]])
    scale = ValueScale.fit(values)
    scaled = scale.to_scale(values)
    assert np.nanmean(scaled) == pytest.approx(1)
    assert scale.from_scale(np.log(scaled[1:3])) == pytest.approx(values[1:3])


def test_calibrated_values_have_the_total_of_the_labels():
    values = np.array([[0.0], [10.0], [200.0], [NAN]])
    scale = ValueScale.fit(values)
    answers = np.zeros((4, 1))
    assert scale.calibrated(values, answers).from_scale(answers)[:3].sum() == pytest.approx(210)


def test_refunds_count_as_no_spend():
    assert ValueScale.fit(np.array([[-5.0], [5.0]])) == ValueScale.fit(np.array([[0.0], [5.0]]))


def test_the_standard_error_over_customers_is_that_of_their_totals():
    """Of groups of equal size it is that of the groups' means; the rows of a group, repeated, change nothing."""
    random = np.random.default_rng(1)
    means = random.normal(0.1, 1, 50)
    assert standard_error(means, np.arange(50)) == pytest.approx(means.std(ddof=1) / np.sqrt(50))
    repeated, customer = np.repeat(means, 9), np.repeat([f"c{number}" for number in range(50)], 9)
    assert standard_error(repeated, customer) == pytest.approx(means.std(ddof=1) / np.sqrt(50))
    assert standard_error(means, np.zeros(50)) == np.inf


def test_what_is_beyond_doubt_for_rows_may_not_be_for_customers():
    gain = np.repeat([0.5, 0.3, -0.4, 0.2], 100)
    assert beyond_doubt(gain, np.arange(400))
    assert not beyond_doubt(gain, np.repeat(np.arange(4), 100))
    assert not beyond_doubt(np.zeros(0), np.zeros(0))


def test_each_observed_label_has_its_customer():
    churn = np.array([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])
    assert whose_labels(churn, np.array(["a", "b", "c"])).tolist() == ["a", "b", "b"]
    assert len(log_losses(churn, np.full((3, 2), 0.5))) == 3
