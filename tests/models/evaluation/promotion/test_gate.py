"""The gate: each of its checks can stop a challenger, and each leaves its reason."""

import numpy as np
import pytest

from models.evaluation.intervals import customer_weights
from models.evaluation.promotion.gate import Candidate, Gate, decide
from models.evaluation.promotion.nomination import Contest, Nomination

EXAMPLES = 1500
GENERATOR = np.random.default_rng(1)
LOGIT = GENERATOR.normal(-1.5, 1.5, EXAMPLES)
TRUTH = 1 / (1 + np.exp(-LOGIT))
LABELS = (GENERATOR.random(EXAMPLES) < TRUTH).astype(float)
WEIGHTS = customer_weights(np.array([f"c{number}" for number in range(EXAMPLES)], dtype=object), 300, 2)
BASE_RATE = float(TRUTH.mean())


def candidate(probability, name="gru", recipe="gru-64"):
    return Candidate(name, recipe, probability)


def decided(challenger, champion=None, constant=BASE_RATE, labels=LABELS, weights=WEIGHTS, **more):
    return decide(challenger, champion, Gate([constant], 0.002, **more), labels, weights)


def failures(decision):
    return [check.words for check in decision.checks if not check.passed]


def contest(needed=1, nomination=None, cutoffs=None):
    return Contest("gru-64", 100, np.full(EXAMPLES, 70) if cutoffs is None else cutoffs, 28, needed, nomination)


def test_a_good_first_challenger_is_promoted_with_its_reasons():
    decision = decided(candidate(TRUTH))
    assert decision.promote
    assert len(decision.reasons) == 3
    assert all(check.passed for check in decision.checks)
    assert "has a lower log loss than the constant prediction" in decision.reasons[0]
    assert f"{BASE_RATE:.3f} ({LABELS.mean():.3f} in the test)" in decision.reasons[0]


def test_a_constant_prediction_is_never_promoted():
    decision = decided(candidate(np.full(EXAMPLES, BASE_RATE)))
    assert not decision.promote
    assert [("constant prediction" in reason, "better than chance" in reason) for reason in failures(decision)] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_promoted(seed):
    assert not decided(candidate(np.random.default_rng(seed).permutation(TRUTH))).promote


def test_a_coin_flip_does_not_pass_where_the_base_rate_is_known():
    assert not decided(candidate(np.where(LABELS == 1, 0.501, 0.499))).promote


def test_good_order_with_probabilities_off_their_mark_is_not_promoted():
    shifted = 1 / (1 + np.exp(-(LOGIT + 1.2)))
    decision = decided(candidate(shifted), constant=0.6)
    (reason,) = failures(decision)
    assert reason.startswith("gru's calibration error 0.")
    assert reason.endswith(") is above 0.1")
    assert decision.reasons[0] == reason, "what stopped it comes first"


def test_each_window_has_its_own_base_rate():
    early = np.arange(EXAMPLES) < EXAMPLES // 2
    labels = np.where(early, np.arange(EXAMPLES) % 10 == 0, np.arange(EXAMPLES) % 10 != 0).astype(float)
    weights = customer_weights(np.array([f"c{n}" for n in range(EXAMPLES)], dtype=object), 300, 2, (~early).astype(int))
    level = np.where(early, 0.1, 0.9)
    decision = decide(candidate(level), None, Gate([0.1, 0.9], 0.002), labels, weights)
    assert "0.100 (0.100 in the test), 0.900 (0.900 in the test)" in failures(decision)[0]
    assert "0.0000 (0.0000 to 0.0000)" in failures(decision)[0], "it knows no more than each window's own rate"
    assert decide(candidate(level), None, Gate([0.5, 0.5], 0.002), labels, weights).checks[0].passed


def test_the_same_recipe_may_be_worse_by_the_margin_and_no_more():
    reigning = candidate(TRUTH)
    loss = -np.mean(np.where(LABELS == 1, np.log(TRUTH), np.log(1 - TRUTH)))

    def worse_by(amount):
        low, high = 0.0, 3.0
        for _ in range(60):
            middle = (low + high) / 2
            p = 1 / (1 + np.exp(-(LOGIT - middle)))
            excess = -np.mean(np.where(LABELS == 1, np.log(p), np.log(1 - p))) - loss
            low, high = (middle, high) if excess < amount else (low, middle)
        return candidate(1 / (1 + np.exp(-(LOGIT - low))))

    assert decided(worse_by(0.0019), reigning).promote
    refused = decided(worse_by(0.0021), reigning)
    assert not refused.promote
    assert "champion of the same recipe" in failures(refused)[0]


BLURRED = 1 / (1 + np.exp(-(LOGIT + np.random.default_rng(3).normal(0, 1.5, EXAMPLES))))
BETTER = candidate(TRUTH, "lightgbm", "lightgbm-31")


def test_another_recipe_must_be_clearly_better():
    better = decided(BETTER, candidate(BLURRED), contest=contest())
    assert better.promote
    assert better.trainings == 1
    assert "lightgbm has a lower log loss than the champion gru" in better.reasons[-1]
    hardly = decided(BETTER, candidate(TRUTH), contest=contest())
    assert not hardly.promote
    assert hardly.trainings == 0
    assert len(failures(hardly)) == 1


def test_another_recipe_must_be_clearly_better_in_several_trainings_in_a_row():
    first = decided(BETTER, candidate(BLURRED), contest=contest(needed=2))
    assert (first.promote, first.trainings) == (False, 1)
    assert failures(first)[0].endswith("in training 1 of the 2 in a row that a change of recipe takes")
    nominated = contest(2, Nomination("lightgbm", "gru-64", 1, 70, 40))
    second = decided(BETTER, candidate(BLURRED), contest=nominated)
    assert (second.promote, second.trainings) == (True, 2)
    assert "on examples later than those of the training before" in second.reasons[-1]
    assert decided(candidate(TRUTH), candidate(BLURRED), contest=nominated).promote, "the same recipe may be renewed"


def test_what_was_seen_before_is_no_confirmation():
    later = np.arange(EXAMPLES) < EXAMPLES // 2
    nominated = contest(2, Nomination("lightgbm", "gru-64", 1, 70, 40), np.where(later, 70, 40))
    ahead_before = candidate(np.where(later, TRUTH, BLURRED))
    assert decided(BETTER, ahead_before, contest=contest()).trainings == 1
    assert decided(BETTER, ahead_before, contest=nominated).trainings == 0


def test_another_recipe_without_a_contest_is_an_error():
    with pytest.raises(ValueError, match="a contest says what that takes"):
        decided(BETTER, candidate(BLURRED))


def test_a_subgroup_that_fares_worse_than_the_constant_refuses_the_challenger():
    rows = np.arange(EXAMPLES)
    spoilt = np.where(rows < 80, 1 - TRUTH, TRUTH)
    groups = {"new": rows < 80, "old": rows >= 80, "tiny": rows < 10}
    refused = decided(candidate(spoilt), subgroups=groups)
    assert not refused.promote
    assert len(failures(refused)) == 1
    assert "is clearly worse than the constant prediction in a subgroup of 2, 'new'" in failures(refused)[0]
    assert decided(candidate(TRUTH), subgroups=groups).promote


def test_what_cannot_be_told_is_not_passed():
    nobody = decided(candidate(TRUTH), labels=np.zeros(EXAMPLES))
    assert not nobody.promote
    assert any("ROC AUC is undefined" in reason for reason in failures(nobody))
    one = customer_weights(np.array(["a"] * EXAMPLES, dtype=object), 100, 4)
    assert not decided(candidate(TRUTH), weights=one).promote


def test_unobserved_labels_are_refused():
    with pytest.raises(ValueError, match="labels are neither 0 nor 1"):
        decided(candidate(TRUTH), labels=np.r_[np.nan, LABELS[1:]])
