"""The verdict follows from the numbers by the rule, at its edges too, and chooses on validation alone."""

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.intervals import customer_weights
from models.evaluation.result import Result
from models.evaluation.statements.differences import Difference
from models.evaluation.statements.sides import CONVENTIONAL_SIDE, RECURRENT_SIDE, best_of
from models.evaluation.statements.verdict import decide_by_rule, verdict

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
    of_two_models = Difference(0.0, low, high)
    assert decide_by_rule(of_two_models, of_two_models, margin=0.002) == decision


def test_the_mirror_has_a_rule_of_its_own():
    hardest = Difference(-0.01, -0.02, -0.001)
    assert decide_by_rule(hardest, Difference(0.0, -0.01, 0.01), 0.002) == "no detectable difference"
    assert decide_by_rule(Difference(0.0, -0.001, 0.001), Difference(-0.01, -0.02, -0.001), 0.002) == "conventional"


def test_difference_is_conventional_minus_recurrent_and_positive_favours_recurrent():
    outcome = verdict([result("gru", "recurrent"), result("lightgbm", "conventional", BLURRED)], LABELS, WEIGHTS, 0.002)
    loss = [-np.mean(np.where(LABELS == 1, np.log(p), np.log(1 - p))) for p in (BLURRED, TRUTH)]
    assert outcome.difference == pytest.approx(loss[0] - loss[1], abs=1e-12)
    assert 0 < outcome.low < outcome.difference < outcome.high
    assert (outcome.decision, outcome.margin) == ("recurrent", 0.002)
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
        result("feed_forward", "neural", BLURRED, valid=0.31),
    ]
    assert best_of(results, RECURRENT_SIDE).name == "gru"
    assert best_of(results, CONVENTIONAL_SIDE).name == "feed_forward"
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert (outcome.against.best_recurrent, outcome.mirror.best_conventional) == ("gru", "feed_forward")


def test_the_figures_are_those_against_the_hardest_opponent():
    results = [
        result("gru", "recurrent", TRUTH),
        result("lightgbm", "conventional", BLURRED, valid=0.1),
        result("random_forest", "conventional", 0.9 * TRUTH + 0.1 * BLURRED, valid=0.9),
        result("feed_forward", "neural", 0.5 * TRUTH + 0.5 * BLURRED),
    ]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    opponents = outcome.against.opponents
    assert list(opponents) == ["lightgbm", "random_forest", "feed_forward"]
    assert outcome.best_conventional == "random_forest"
    assert outcome.low == min(each.low for each in opponents.values())
    assert (outcome.mirror.best_recurrent, outcome.mirror.best_conventional) == ("gru", "lightgbm")
    assert outcome.mirror.hardest == opponents["lightgbm"]


def test_an_opponent_that_ties_on_the_test_prevents_the_verdict():
    results = [
        result("gru", "recurrent", TRUTH),
        result("lightgbm", "conventional", BLURRED, valid=0.1),
        result("random_forest", "conventional", TRUTH, valid=0.9),
    ]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert outcome.against.opponents["lightgbm"].low > 0
    assert (outcome.best_conventional, outcome.decision) == ("random_forest", "equivalent")
    results[2] = result("random_forest", "conventional", np.clip(TRUTH + GENERATOR.normal(0, 0.05, 400), 0.01, 0.99))
    assert verdict(results, LABELS, WEIGHTS, 0.0).decision == "no detectable difference"


def test_the_conventional_side_must_beat_every_recurrent_contender_too():
    results = [
        result("gru", "recurrent", BLURRED, valid=0.1),
        result("hybrid_gru", "hybrid", TRUTH, valid=0.9),
        result("lightgbm", "conventional", TRUTH),
    ]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert outcome.high < 0
    assert outcome.mirror.best_recurrent == "hybrid_gru"
    assert outcome.decision == "no detectable difference"
    assert verdict(results[::2], LABELS, WEIGHTS, 0.002).decision == "conventional"


def test_a_pool_without_a_chosen_member_is_no_contender():
    pool = replace(result("recurrent_pool", "hybrid", TRUTH, valid=0.1), members=("gru",), chosen=False)
    twin = replace(result("twin_pool", "conventional", TRUTH, valid=0.1), members=("gru",), chosen=False)
    results = [pool, twin, result("gru", "recurrent", TRUTH), result("lightgbm", "conventional", BLURRED)]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert (outcome.best_recurrent, list(outcome.against.opponents)) == ("gru", ["lightgbm"])
    assert list(outcome.mirror.opponents) == ["gru"]
    chosen = [replace(pool, chosen=True), replace(twin, chosen=True), *results[2:]]
    outcome = verdict(chosen, LABELS, WEIGHTS, 0.002)
    assert (outcome.best_recurrent, outcome.best_conventional) == ("recurrent_pool", "twin_pool")
    assert outcome.decision == "equivalent"


def test_windows_have_their_own_differences_and_the_sentence_says_where_they_disagree():
    window = np.repeat([0, 1], 200)
    weights = customer_weights(CUSTOMERS, 300, random_state=1, window=window)
    results = [result("gru", "recurrent"), result("lightgbm", "conventional", BLURRED)]
    agreeing = verdict(results, LABELS, weights, 0.002)
    assert len(agreeing.windows) == 2
    assert np.mean(agreeing.windows) == pytest.approx(agreeing.difference)
    assert "disagree" not in agreeing.sentence
    swapped = [
        result("gru", "recurrent", np.where(window == 0, TRUTH, BLURRED)),
        result("lightgbm", "conventional", np.where(window == 0, BLURRED, TRUTH)),
    ]
    outcome = verdict(swapped, LABELS, weights, 0.002)
    assert outcome.windows[0] > 0 > outcome.windows[1]
    first, second = (f"{value:+.4f}" for value in outcome.windows)
    assert f"The windows disagree in sign: {first}, {second} (positive favours gru)." in outcome.sentence


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


@pytest.mark.parametrize(("label", "words"), [(0.0, "no test example churned"), (1.0, "every test example churned")])
def test_one_outcome_has_nothing_to_compare(label, words):
    results = [result("gru", "recurrent"), result("lightgbm", "conventional", BLURRED)]
    outcome = verdict(results, np.full(400, label), WEIGHTS, 0.002)
    assert (outcome.difference, outcome.low, outcome.decision) == (None, None, "no detectable difference")
    assert outcome.sentence.endswith(f"{words}, so there is nothing to compare.")


def test_five_customers_decide_nothing():
    weights = customer_weights(CUSTOMERS[:5], 300, random_state=1)
    results = [result("gru", "recurrent", TRUTH[:5]), result("lightgbm", "conventional", BLURRED[:5])]
    outcome = verdict(results, np.array([1.0, 0, 1, 0, 1]), weights, 0.002)
    assert (outcome.low, outcome.high, outcome.decision) == (None, None, "no detectable difference")
    assert "5 test examples of 5 customers are too few for an interval" in outcome.sentence


def test_a_best_that_is_behind_while_its_side_is_not_is_said():
    results = [
        result("gru", "recurrent", BLURRED, valid=0.4),
        result("hybrid_gru", "hybrid", valid=0.5),
        result("lightgbm", "conventional"),
    ]
    outcome = verdict(results, LABELS, WEIGHTS, 0.002)
    assert outcome.high < 0
    assert outcome.decision == "no detectable difference"
    assert (
        " gru is behind, but its side is not: lightgbm is not clearly ahead of hybrid_gru (+0.0000, 95 %"
        in outcome.sentence
    )
