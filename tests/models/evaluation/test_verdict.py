"""The verdict follows from the numbers by the rule, at its edges too, and chooses on validation alone."""

import numpy as np
import pytest

from models.evaluation.intervals import Interval, customer_weights
from models.evaluation.result import Result
from models.evaluation.verdict import best_of, decide_by_rule, verdict

CUSTOMERS = np.array([f"c{number}" for number in range(400)], dtype=object)
WEIGHTS = customer_weights(CUSTOMERS, 300, random_state=1)
GENERATOR = np.random.default_rng(2)
TRUTH = GENERATOR.beta(1, 2, 400)
LABELS = (GENERATOR.random(400) < TRUTH).astype(float)
BLURRED = GENERATOR.permutation(TRUTH)


def result(name, family, probability=TRUTH, valid=0.5):
    return Result(name, family, f"run-{name}", "digest", valid, probability, 1.0, 100.0)


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.0001, 0.5, "recurrent"),
        (-0.5, -0.0001, "conventional"),
        (-0.002, 0.002, "equivalent"),
        (0.0, 0.001, "equivalent"),
        (-0.001, 0.0, "equivalent"),
        (-0.0021, 0.001, "no detectable difference"),
        (-0.001, 0.0021, "no detectable difference"),
        (None, None, "no detectable difference"),
    ],
)
def test_the_rule(low, high, decision):
    assert decide_by_rule(Interval(0.0, low, high), margin=0.002) == decision


def test_difference_is_conventional_minus_recurrent_and_positive_favours_recurrent():
    outcome = verdict([result("gru", "recurrent"), result("lightgbm", "conventional", BLURRED)], LABELS, WEIGHTS, 0.002)
    loss = [-np.mean(np.where(LABELS == 1, np.log(p), np.log(1 - p))) for p in (BLURRED, TRUTH)]
    assert outcome.difference == pytest.approx(loss[0] - loss[1], abs=1e-12)
    assert 0 < outcome.low < outcome.difference < outcome.high
    assert (outcome.decision, outcome.metric, outcome.margin) == ("recurrent", "log_loss", 0.002)
    assert outcome.sentence.startswith("gru predicts churn better than lightgbm: its log loss is lower by ")
    assert "400 test examples of 400 customers" in outcome.sentence


def test_sides_mirror_each_other():
    there = verdict([result("gru", "recurrent"), result("recency", "conventional", BLURRED)], LABELS, WEIGHTS, 0.002)
    back = verdict([result("gru", "recurrent", BLURRED), result("recency", "conventional")], LABELS, WEIGHTS, 0.002)
    assert back.decision == "conventional"
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert back.sentence.startswith("recency predicts churn better than gru")


def test_the_same_predictions_are_equivalent():
    outcome = verdict([result("gru", "recurrent"), result("lightgbm", "conventional")], LABELS, WEIGHTS, 0.002)
    assert (outcome.difference, outcome.low, outcome.high, outcome.decision) == (0.0, 0.0, 0.0, "equivalent")
    assert "gru and lightgbm are equivalent within 0.002" in outcome.sentence


def test_a_difference_lost_in_noise_is_not_detectable():
    noisy = np.clip(TRUTH + np.random.default_rng(3).normal(0, 0.02, 400), 0.001, 0.999)
    outcome = verdict([result("gru", "recurrent", noisy), result("lightgbm", "conventional")], LABELS, WEIGHTS, 0.0001)
    assert outcome.decision == "no detectable difference"
    assert outcome.sentence.startswith("No detectable difference between gru and lightgbm")


def test_the_best_is_chosen_on_validation_and_not_on_the_test():
    results = [
        result("gru", "recurrent", BLURRED, valid=0.30),
        result("hybrid_gru", "hybrid", TRUTH, valid=0.31),
        result("lightgbm", "conventional", TRUTH, valid=0.33),
        result("recency", "conventional", BLURRED, valid=0.32),
        result("feed_forward", "neural", TRUTH, valid=0.1),
    ]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert (outcome.best_recurrent, outcome.best_conventional) == ("gru", "recency")


def test_equals_are_taken_by_name_and_a_failed_validation_is_not_best():
    assert best_of([result("lstm", "recurrent"), result("gru", "recurrent")], ("recurrent",)).name == "gru"
    unfit = [result("a", "recurrent", valid=None), result("b", "recurrent", valid=float("nan"))]
    assert best_of(unfit, ("recurrent",)) is None


def test_a_side_that_is_missing_leaves_nothing_to_detect():
    outcome = verdict([result("lightgbm", "conventional")], LABELS, WEIGHTS, 0.002)
    assert (outcome.best_recurrent, outcome.best_conventional) == (None, "lightgbm")
    assert (outcome.difference, outcome.low, outcome.high) == (None, None, None)
    assert outcome.decision == "no detectable difference"
    assert "no recurrent or hybrid model" in outcome.sentence


def test_too_little_to_tell():
    one = customer_weights(np.array(["a", "a"], dtype=object), 100, random_state=4)
    pair = [result("gru", "recurrent", [0.2, 0.9]), result("lightgbm", "conventional", [0.3, 0.8])]
    outcome = verdict(pair, [0, 1], one, 0.002)
    assert (outcome.low, outcome.high, outcome.decision) == (None, None, "no detectable difference")
    assert "too few for an interval" in outcome.sentence
    none = customer_weights(np.array([], dtype=object), 100, random_state=4)
    empty = verdict([result("gru", "recurrent", []), result("lightgbm", "conventional", [])], [], none, 0.002)
    assert empty.difference is None
    assert "there are no test examples" in empty.sentence
