"""Calibration: it mends what is off, keeps the order, does no harm to a small slice, and comes back from its file."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from models.calibration import Calibration, factor_helps
from models.numerics import base_rates, log_loss, logit, sigmoid

KINDS = ("platt", "beta", "isotonic")  # that change anything


EACH_ITS_OWN = np.arange(4_000)  # an example a customer


def sample(examples, seed=1, slope=1.0, shift=0.0):
    """Labels, and probabilities whose logits are wrong by a slope and a shift."""
    random = np.random.default_rng(seed)
    truth = random.beta(1, 4, (examples, 1))
    return (random.random((examples, 1)) < truth).astype(float), sigmoid((logit(truth) - shift) / slope)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_off_is_mended(kind):
    fitted = Calibration.fit(kind, *sample(8_000, slope=0.5, shift=0.8), {})
    labels, said = sample(8_000, seed=2, slope=0.5, shift=0.8)
    _, truth = sample(8_000, seed=2)
    assert log_loss(labels, said) > log_loss(labels, truth) + 0.02
    assert log_loss(labels, fitted.churn(said)) < log_loss(labels, truth) + 0.004


def test_platt_finds_the_slope_and_the_shift():
    fitted = Calibration.fit("platt", *sample(50_000, slope=0.5, shift=0.8), {})
    assert fitted.maps[0][0] == pytest.approx([0.8, 0.5], abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_kept(kind):
    fitted = Calibration.fit(kind, *sample(300, slope=3.0), {})
    rising = np.linspace(0.001, 0.999, 200)[:, None]
    assert (np.diff(fitted.churn(rising)[:, 0]) >= 0).all()


def test_a_map_never_falls_even_where_the_slice_says_the_contrary():
    labels, said = sample(2_000)
    fitted = Calibration.fit("platt", labels, 1 - said, {})
    assert fitted.maps[0][0][1] == 0


def test_a_small_slice_does_little():
    labels, said = sample(12)
    assert np.abs(Calibration.fit("platt", labels, said, {}).churn(said) - said).max() < 0.15


def test_a_horizon_that_was_not_observed_is_left_alone():
    labels, said = sample(500, shift=1.0)
    both = np.hstack([labels, np.full_like(labels, np.nan)])
    fitted = Calibration.fit("platt", both, np.hstack([said, said]), {})
    given = fitted.churn(np.hstack([said, said]))
    assert fitted.base_rate == [pytest.approx(labels.mean()), None]
    assert np.abs(given[:, 0] - said[:, 0]).max() > 0.05
    assert np.array_equal(given[:, 1], said[:, 0])


def test_values_are_brought_near_the_total_that_came():
    came, expected = np.full((10_000, 1), 3.0), np.full((10_000, 1), 4.0)
    fitted = Calibration.fit("none", *sample(10_000), {"spend": (came, expected)})
    assert fitted.value("spend", expected).mean() == pytest.approx(3.0, abs=0.02)
    assert np.array_equal(fitted.value("purchases", expected), expected)
    few = Calibration.fit("none", *sample(10), {"spend": (came[:10], expected[:10])})
    assert few.value("spend", expected).mean() > 3.8


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_it_comes_back_from_json(kind):
    labels, said = sample(400, slope=2.0)
    fitted = Calibration.fit(kind, labels, said, {"spend": (labels, said)})
    again = Calibration(**json.loads(json.dumps(asdict(fitted))))
    assert again == fitted
    assert np.array_equal(again.churn(said), fitted.churn(said))


def test_a_fault_that_lasts_is_mended_and_a_season_is_not():
    summer, autumn = sample(4_000, shift=0.7), sample(4_000, seed=2, shift=-0.7)
    lasting = sample(4_000, seed=3, shift=0.7)
    assert Calibration.choose(summer, lasting, EACH_ITS_OWN) in ("platt", "beta")
    assert Calibration.choose(summer, autumn, EACH_ITS_OWN) == "none"


def test_a_map_that_fits_a_slice_by_chance_gives_way_to_none():
    chosen = [
        Calibration.choose(sample(1_000, seed=seed), sample(1_000, seed=seed + 100), EACH_ITS_OWN[:1_000])
        for seed in range(20)
    ]
    assert chosen.count("none") >= 18


def test_a_gain_that_a_few_customers_repeat_is_no_reason_for_a_map():
    """The examples of eight customers, a thousand of each, as good as eight: what is mended for each example is not."""
    before, after = sample(8_000, shift=0.7), sample(8, seed=3, shift=0.7)
    repeated = tuple(np.repeat(values, 1_000, axis=0) for values in after)
    assert Calibration.choose(before, repeated, np.arange(8_000)) != "none"
    assert Calibration.choose(before, repeated, np.repeat(np.arange(8), 1_000)) == "none"


def test_a_factor_is_taken_where_it_would_have_helped_before():
    came, more, less = np.full((500, 1), 3.0), np.full((500, 1), 4.0), np.full((500, 1), 2.5)
    assert factor_helps((came, more), (came, more))
    assert not factor_helps((came, more), (came, less))


@pytest.mark.parametrize("kind", KINDS)
def test_the_level_is_set_anew_and_the_shape_stays(kind):
    labels, said = sample(2_000, slope=0.5, shift=0.8)
    fitted = Calibration.fit(kind, labels, said, {})
    fewer = labels * (np.arange(len(labels)) % 2)[:, None]
    again = fitted.levelled(fewer, said)
    before, after = fitted.churn(said), again.churn(said)
    assert after.mean() == pytest.approx(base_rates(fewer)[0], abs=1e-6)
    shift = logit(after) - logit(before)
    assert shift == pytest.approx(shift.mean(), abs=1e-6)
    assert Calibration.fit("none", labels, said, {}).levelled(fewer, said).maps == [[]]
