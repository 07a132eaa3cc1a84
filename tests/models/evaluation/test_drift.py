"""Drift by its formula, expected performance against simulation, and the rule's every branch."""

import re

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from models.evaluation.drift import expected_performance, stability_index
from models.evaluation.intervals import Interval
from models.evaluation.retraining_policy import Limits, decide


def test_the_index_is_its_formula():
    reference = np.arange(100.0)
    current = np.concatenate([np.arange(50.0), np.arange(50.0)])  # the upper half is empty
    p, q = np.full(10, 0.1), np.array([0.2] * 5 + [1e-3] * 5)
    assert stability_index(reference, current) == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=1e-6)
    assert stability_index(reference, reference) == 0


def test_the_same_distribution_is_below_and_a_moved_one_above_the_customary_bounds():
    random = np.random.default_rng(1)
    assert stability_index(random.normal(size=5_000), random.normal(size=2_000)) < 0.02
    assert stability_index(random.normal(size=5_000), random.normal(1, 1, 2_000)) > 0.25


def test_nulls_are_a_bin_of_their_own_and_a_constant_has_none_to_tell():
    values = np.arange(100.0)
    assert stability_index(values, np.where(values < 50, np.nan, values)) > 0.25
    assert stability_index(np.full(50, np.nan), np.full(20, np.nan)) == 0
    assert stability_index(np.ones(50), np.ones(20)) == 0
    assert np.isnan(stability_index(np.ones(0), np.ones(3)))


def test_what_is_expected_is_what_simulation_gives():
    random = np.random.default_rng(2)
    probability = np.round(random.beta(1.2, 4, 3_000), 2)  # with ties
    said = expected_performance(probability)
    losses, areas, rates, lifts = [], [], [], []
    top = np.argsort(probability, kind="stable")[-300:]
    for _ in range(200):
        churned = random.random(len(probability)) < probability
        losses.append(log_loss(churned, np.clip(probability, 1e-7, 1 - 1e-7)))
        areas.append(roc_auc_score(churned, probability))
        rates.append(churned.mean())
        lifts.append(churned[top].mean() / churned.mean())
    assert said["log_loss"] == pytest.approx(np.mean(losses), abs=0.002)
    assert said["roc_auc"] == pytest.approx(np.mean(areas), abs=0.002)
    assert said["mean_predicted"] == pytest.approx(np.mean(rates), abs=0.002)
    assert said["lift_at_10_percent"] == pytest.approx(np.mean(lifts), abs=0.02)


def interval(value, around=0.01):
    return Interval(value, value - around, value + around)


REFERENCE = {"log_loss": interval(0.3)}
GOOD = {
    "log_loss": interval(0.31),
    "roc_auc": interval(0.85),
    "base_rate": interval(0.2),
    "mean_predicted": interval(0.2),
}


@pytest.mark.parametrize(
    ("realised", "reference", "expected", "drift", "decision", "why"),
    [
        (GOOD, REFERENCE, 0.3, {"score": 0.1}, "fine", "nothing"),
        ({}, {}, None, {}, "fine", "nothing"),
        (GOOD | {"log_loss": interval(0.36)}, REFERENCE, 0.3, {}, "retrain", "0.360, is above the 0.330 promised"),
        (GOOD | {"log_loss": interval(0.335)}, REFERENCE, 0.3, {}, "fine", "nothing"),  # within its own chance
        (GOOD | {"roc_auc": interval(0.45)}, {}, None, {}, "retrain", "worse than chance"),
        (
            GOOD | {"base_rate": interval(0.3)},
            REFERENCE,
            0.3,
            {},
            "alert",
            "20.0% were predicted to churn and 30.0% did",
        ),
        (GOOD, REFERENCE, 0.4, {}, "alert", "expect a log loss of 0.400"),
        (GOOD, REFERENCE, 0.3, {"score": 0.1, "amount_28": 0.4}, "alert", "moved since training: amount 28 \\(0.40\\)"),
        (GOOD, REFERENCE, 0.3, dict.fromkeys("abcde", 0.5), "alert", "and 2 more"),
    ],
)
def test_the_rule(realised, reference, expected, drift, decision, why):
    found = decide(realised, reference, expected, drift, Limits(max_drift=0.25, tolerance=0.02))
    assert found.decision == decision
    assert re.search(why, found.why)
