"""The metrics against scikit-learn, against numbers worked out by hand, and on inputs that leave them undefined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from models.evaluation.intervals import customer_weights
from models.evaluation.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    calibration_bins,
    clip_probabilities,
    example_log_loss,
)
from models.evaluation.scoring import score


def of_scikit_learn(labels, probabilities):
    return {
        "roc_auc": roc_auc_score(labels, probabilities),
        "average_precision": average_precision_score(labels, probabilities),
        "log_loss": log_loss(labels, probabilities, labels=[0, 1]),
        "brier": brier_score_loss(labels, probabilities),
    }


def point_values(labels, probabilities):
    """Each metric; None where it is undefined."""
    weights = customer_weights(np.arange(np.shape(labels)[0]).astype(str), replicates=0)
    return {name: interval.value for name, interval in score(labels, probabilities, weights).items()}


def sample(seed, examples=700, distinct=None):
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(1, 4, examples)
    if distinct:
        probabilities = np.round(probabilities * distinct) / distinct
    labels = (generator.random(examples) < probabilities * 0.8 + 0.05).astype(float)
    return labels, clip_probabilities(probabilities)


@pytest.mark.parametrize("distinct", [None, 50, 3])
@pytest.mark.parametrize("seed", range(4))
def test_points_are_those_of_scikit_learn(seed, distinct):
    labels, probabilities = sample(seed, distinct=distinct)
    values = point_values(labels, probabilities)
    for name, expected in of_scikit_learn(labels, probabilities).items():
        assert values[name] == pytest.approx(expected, abs=1e-12), name


def test_calibration_error_uses_the_bins_of_scikit_learn():
    labels, probabilities = sample(9, examples=1003)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    sizes = np.bincount(calibration_bins(probabilities))
    expected = np.average(np.abs(observed - predicted), weights=sizes)
    assert point_values(labels, probabilities)["calibration_error"] == pytest.approx(expected, abs=1e-12)


def test_golden_numbers():
    labels = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    probabilities = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    values = point_values(labels, probabilities)
    assert values["roc_auc"] == pytest.approx(15 / 16)  # one pair of the 2 x 8 is the wrong way round
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["log_loss"] == pytest.approx(0.492821, abs=1e-6)
    assert values["brier"] == pytest.approx(0.16525)
    assert values["calibration_error"] == pytest.approx(
        (0.1 + 0.8 + 0.3 + 0.6 + 0.5 + 0.4 + 0.3 + 0.2 + 0.1 + 0.05) / 10
    )
    assert values["lift_at_10_percent"] == pytest.approx(5.0)  # the first of ten is a churner, and a fifth of all are


def test_lift_is_the_mean_over_all_orders_of_its_ties():
    labels = np.array([1, 0, 1, 0, 0] * 5 + [0] * 5, float)
    probabilities = np.array([0.9] * 2 + [0.5] * 20 + [0.1] * 8)
    generator, lifts = np.random.default_rng(10), []
    for _ in range(20_000):
        first = np.lexsort((generator.random(30), -probabilities))[:3]
        lifts.append(labels[first].mean() / labels.mean())
    assert point_values(labels, probabilities)["lift_at_10_percent"] == pytest.approx(np.mean(lifts), abs=0.02)


def test_lift_counts_a_fraction_of_the_boundary_example():
    assert point_values([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.linspace(0.9, 0.1, 15))[
        "lift_at_10_percent"
    ] == pytest.approx(1.5 / 2 / 0.1)


def test_a_constant_prediction():
    labels = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0], float)
    values = point_values(labels, np.full(10, 0.2))
    assert values["roc_auc"] == pytest.approx(0.5)
    assert values["average_precision"] == pytest.approx(0.2)
    assert values["lift_at_10_percent"] == pytest.approx(1.0)
    assert values["calibration_error"] == pytest.approx(0.0, abs=1e-15)
    assert values["log_loss"] == pytest.approx(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)))


def test_undefined_metrics_are_none():
    assert point_values([], []) == dict.fromkeys(METRICS)
    nobody = point_values([0, 0, 0], [0.1, 0.2, 0.3])
    assert [name for name, value in nobody.items() if value is None] == [
        "roc_auc",
        "average_precision",
        "lift_at_10_percent",
    ]
    assert nobody["log_loss"] == pytest.approx(log_loss([0, 0, 0], [0.1, 0.2, 0.3], labels=[0, 1]))
    everybody = point_values([1, 1, 1], [0.1, 0.2, 0.3])
    assert [name for name, value in everybody.items() if value is None] == ["roc_auc"]
    assert everybody["average_precision"] == everybody["lift_at_10_percent"] == pytest.approx(1.0)


def test_a_certain_mistake_costs_what_the_clip_says():
    values = point_values([1, 0], [0.0, 1.0])
    assert values["log_loss"] == pytest.approx(-math.log(1e-7))
    published = clip_probabilities([0.0, 1.0, 0.3])
    assert published.tolist() == [1e-7, 1 - 1e-7, 0.3]
    assert log_loss([1, 0, 1], published) == pytest.approx(
        example_log_loss([1, 0, 1], [0.0, 1.0, 0.3]).mean(), abs=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, math.nan, 1], [0.1, 0.2, 0.3], "1 of 3 labels are neither 0 nor 1"),
        ([0, 2], [0.1, 0.2], "1 of 2 labels"),
        ([0, 1], [0.1, math.nan], "1 of 2 probabilities are not within"),
        ([0, 1], [-0.1, 1.1], "2 of 2 probabilities"),
        ([0, 1, 1], [0.1, 0.2], "must be of one shape"),
        ([[0, 1]], [[0.1, 0.2]], "must be of one shape"),
    ],
)
def test_what_is_no_evidence_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        point_values(labels, probabilities)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_small_and_tied_samples(rows):
    labels = np.array([label for label, _ in rows], float)
    probabilities = np.array([sixths / 6 for _, sixths in rows])
    values = point_values(labels, probabilities)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    again = point_values(labels[shuffled], probabilities[shuffled])
    for name in METRICS:
        assert (values[name] is None) == (again[name] is None)
        assert values[name] is None or values[name] == pytest.approx(again[name], abs=1e-12)
    if 0 < labels.sum() < len(labels):
        assert values["roc_auc"] == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-12)
        assert -1e-9 <= values["lift_at_10_percent"] <= 10 + 1e-9


def test_better_probabilities_score_better_in_every_metric():
    generator = np.random.default_rng(11)
    truth = generator.beta(1, 3, 4000)
    labels = (generator.random(4000) < truth).astype(float)
    blurred = generator.permutation(truth)
    good, bad = point_values(labels, truth), point_values(labels, blurred)
    for name in METRICS:
        assert (good[name] > bad[name]) == (name in HIGHER_IS_BETTER), name
