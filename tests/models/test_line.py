"""The share that another model has beside a line: what it deserves, and nothing where it only adds noise."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from models.line import fit_line, linear, shrunken_share
from models.numerics import sigmoid
from tests.support.worlds.linear.straight_line import straight_line_snapshot


def drawn(share: float, examples: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Labels of the truth `line + share (other - line)`, and both logits, of horizons of another level each."""
    random = np.random.default_rng(seed)
    line = random.normal(size=(examples, 2))
    other = line + random.normal(size=(examples, 2))
    truth = sigmoid(line + share * (other - line) + np.array([0.5, -0.5]))
    churn = (random.random(truth.shape) < truth).astype(float)
    churn[random.random(truth.shape) < 0.1] = np.nan
    return churn, line, other


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_it_is_what_the_labels_say(share):
    churn, line, other = drawn(share, 20_000)
    assert shrunken_share(churn, line, other, np.arange(20_000)) == pytest.approx(share, abs=0.05)


def test_noise_and_harm_have_none():
    shares = [shrunken_share(*drawn(0.0, 400, seed)[:3], np.arange(400)) for seed in range(20)]
    assert np.mean(np.array(shares) == 0) >= 0.6
    assert np.mean(shares) < 0.05
    churn, line, other = drawn(-0.5, 2_000)
    assert shrunken_share(churn, line, other, np.arange(2_000)) == 0


def test_a_customer_who_repeats_is_one_customer():
    """The same rows thirty times over are no more evidence."""
    churn, line, other = drawn(0.3, 60)
    once = shrunken_share(churn, line, other, np.arange(60))
    again = shrunken_share(*(np.tile(each, (30, 1)) for each in (churn, line, other)), np.tile(np.arange(60), 30))
    assert again == pytest.approx(once, abs=1e-6)


def test_without_labels_of_both_kinds_the_line_stays():
    churn, line, other = drawn(0.5, 50)
    assert shrunken_share(np.ones_like(churn), line, other, np.arange(50)) == 0
    assert shrunken_share(churn, line, line, np.arange(50)) == 0


def test_the_straight_line_world_churns_with_its_true_probability():
    snapshot, truth = straight_line_snapshot(400, 3)
    churn = snapshot.parts(0).test.labels.churn[:, 0]
    error = np.sqrt((truth * (1 - truth)).sum()) / len(truth)
    assert abs(churn.mean() - truth.mean()) < 4 * error
    assert truth.std() > 0.1


def test_a_line_has_the_same_bits_on_any_number_of_cores():
    random = np.random.default_rng(0)
    rows = random.normal(size=(10_000, 60))
    churn = (random.random((10_000, 1)) < sigmoid(rows[:, :1])).astype(float)

    def line_on(threads: int) -> tuple[list[list[float]], bytes]:
        with threadpool_limits(threads, "blas"):
            weights = fit_line(rows, churn, 0.03)
            return weights, linear(weights, rows).tobytes()

    assert line_on(1) == line_on(2)
