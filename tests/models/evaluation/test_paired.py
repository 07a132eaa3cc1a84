"""Paired differences: golden values of Holm's correction, and a real difference told from chance."""

import numpy as np
import pytest

from models.evaluation.intervals import customer_weights
from models.evaluation.paired import holm, paired_differences
from models.evaluation.result import Result


def result(name: str, probability: np.ndarray) -> Result:
    return Result(name, "conventional", "run", "digest", 0.5, probability, 1.0, 1.0)


def test_holm_equals_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_real_difference_is_told_from_chance() -> None:
    random = np.random.default_rng(3)
    truth = random.uniform(0.05, 0.95, 4_000)
    labels = (random.random(4_000) < truth).astype(float)
    customers = np.array([f"c{number}" for number in random.integers(1_500, size=4_000)], dtype=object)
    noisy = np.clip(truth + random.normal(0, 0.02, 4_000), 0.01, 0.99)
    worse = np.full(4_000, labels.mean())
    results = [result("reference", truth), result("twin", noisy), result("constant", worse)]
    twin, constant = paired_differences(results, labels, customer_weights(customers, 400, random_state=1), results[0])
    assert (twin.name, constant.name) == ("twin", "constant")
    assert constant.difference.high is not None
    assert constant.difference.high < 0
    assert constant.p_holm == pytest.approx(2 * 2 / 401)
    assert twin.p is not None
    assert twin.p > constant.p
    assert twin.p_holm is not None
    assert twin.p_holm >= twin.p


def test_one_customer_allows_no_interval_and_no_p_value() -> None:
    results = [result("a", np.array([0.2, 0.8])), result("b", np.array([0.3, 0.6]))]
    (paired,) = paired_differences(
        results,
        np.array([0.0, 1.0]),
        customer_weights(np.array(["c", "c"], dtype=object), 50, random_state=1),
        results[0],
    )
    assert paired.p is None
    assert paired.p_holm is None
