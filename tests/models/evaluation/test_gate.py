"""The gate: each of its checks can stop a challenger, and each leaves its reason."""

import numpy as np
import pytest

from models.evaluation.gate import Candidate, Gate, decide
from models.evaluation.intervals import customer_weights

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
    return decide(challenger, champion, Gate(constant, 0.002, **more), labels, weights)


def failures(decision):
    return [reason for reason in decision.reasons if reason.startswith("failed")]


def test_a_good_first_challenger_is_promoted_with_its_reasons():
    decision = decided(candidate(TRUTH))
    assert decision.promote
    assert len(decision.reasons) == 3
    assert all(reason.startswith("passed: gru") for reason in decision.reasons)


def test_a_constant_prediction_is_never_promoted():
    decision = decided(candidate(np.full(EXAMPLES, BASE_RATE)))
    assert not decision.promote
    assert [("constant prediction" in reason, "no skill" in reason) for reason in failures(decision)] == [
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
    assert [("calibration error" in reason) for reason in failures(decision)] == [True]


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


def test_another_recipe_must_be_clearly_better():
    blurred = 1 / (1 + np.exp(-(LOGIT + np.random.default_rng(3).normal(0, 1.5, EXAMPLES))))
    better = decided(candidate(TRUTH, "lightgbm", "lightgbm-31"), candidate(blurred))
    assert better.promote
    assert "lightgbm against the champion gru" in better.reasons[-1]
    hardly = decided(candidate(TRUTH, "lightgbm", "lightgbm-31"), candidate(TRUTH))
    assert not hardly.promote
    assert len(failures(hardly)) == 1


def test_the_recipe_changes_once_a_horizon_at_the_most():
    blurred = 1 / (1 + np.exp(-(LOGIT + np.random.default_rng(3).normal(0, 1.5, EXAMPLES))))
    challenger = candidate(TRUTH, "lightgbm", "lightgbm-31")
    refused = decided(challenger, candidate(blurred), may_change=False)
    assert not refused.promote
    assert failures(refused) == ["failed: the recipe did not change within the last horizon"]
    assert decided(candidate(TRUTH), candidate(blurred), may_change=False).promote, "the same recipe may be renewed"


def test_a_subgroup_that_fares_worse_than_the_constant_refuses_the_challenger():
    rows = np.arange(EXAMPLES)
    spoilt = np.where(rows < 80, 1 - TRUTH, TRUTH)
    groups = {"new": rows < 80, "old": rows >= 80, "tiny": rows < 10}
    refused = decided(candidate(spoilt), subgroups=groups)
    assert not refused.promote
    assert len(failures(refused)) == 1
    assert "2 slices" in failures(refused)[0]
    assert "at worst (new)" in failures(refused)[0]
    assert decided(candidate(TRUTH), subgroups=groups).promote


def test_what_cannot_be_told_is_not_passed():
    nobody = decided(candidate(TRUTH), labels=np.zeros(EXAMPLES))
    assert not nobody.promote
    assert any("ROC AUC undefined" in reason for reason in failures(nobody))
    one = customer_weights(np.array(["a"] * EXAMPLES, dtype=object), 100, 4)
    assert not decided(candidate(TRUTH), weights=one).promote


def test_unobserved_labels_are_refused():
    with pytest.raises(ValueError, match="labels are neither 0 nor 1"):
        decided(candidate(TRUTH), labels=np.r_[np.nan, LABELS[1:]])
