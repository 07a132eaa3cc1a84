"""Choices are made before the test, the test is of a refit on all that was known when it begins, pools fit nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.base import Predictions
from models.contender import Contender, Gains, MemberChoice, Procedure, Raw, choose_member, contend, latest_known, pool
from models.held_out import Parts
from models.numerics import base_rates
from models.spec import ModelSpec
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.training import fits as fitting
from pipeline.training import pools
from pipeline.training.fits import Training, fit_windows, known_digest
from pipeline.training.pools import choose, joining, train_pool
from pipeline.training.snapshot import Snapshot, microseconds
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import LONGER, PRIMARY, snapshot_of

SPEC = ModelSpec("logistic_regression", {})
PROCEDURE = Procedure((PRIMARY, LONGER))
SINGLES = ("logistic_regression", "random_forest", "lightgbm", "gru")
SMALL = {"random_forest": {"trees": 5}, "lightgbm": {"max_rounds": 5}, "gru": {"max_epochs": 1, "units": 4}}


@pytest.fixture(scope="module")
def taken(trained_world: World) -> Snapshot:
    return snapshot_of(trained_world.settings)


@pytest.fixture(scope="module")
def parts(taken: Snapshot) -> Parts:
    return taken.parts(0)


@pytest.fixture(scope="module")
def training(trained_world: World, taken: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """With the fits of every single model kept, of two seeds."""
    evidence = trained_world.settings.evidence.model_copy(update={"seeds": 2})
    shared = Training(taken, evidence, 7, tmp_path_factory.mktemp("contenders"))
    for name in SINGLES:
        fit_windows(ModelSpec(name, SMALL.get(name, {})), shared)
    return shared


def test_what_is_known_is_every_cutoff_before_the_test_and_no_label_past_its_beginning(
    taken: Snapshot, parts: Parts
) -> None:
    begin = microseconds(taken.windows[0].test[0])
    assert set(parts.known.cutoff) == {cutoff for cutoff in np.unique(taken.data.cutoff) if cutoff < begin}
    assert set(parts.known.cutoff) > set(parts.train.cutoff) | set(parts.valid.cutoff) | set(parts.calibrate.cutoff)
    assert parts.known.labels is not None
    for column, days in enumerate((PRIMARY, LONGER)):
        closed = parts.known.cutoff + microseconds_of(days) <= begin
        assert (np.isfinite(parts.known.labels.churn[:, column]) == closed).all()


def test_the_test_is_of_a_refit_that_takes_over_what_the_fit_before_chose(parts: Parts) -> None:
    contender, model, refit = contend(SPEC, parts, PROCEDURE, 3)
    again = ModelSpec(SPEC.name, model.parameters).build(PROCEDURE.horizons, 3)
    again.fit(parts.known, None)
    assert refit.parameters["strength"] == model.parameters["strength"]
    assert np.array_equal(contender.raw.test.churn_probability, again.predict(parts.test).churn_probability)
    again.calibration = contender.refit_calibration
    assert np.array_equal(contender.test.churn_probability, again.predict(parts.test).churn_probability)
    assert np.array_equal(contender.before.churn_probability, model.predict(parts.test).churn_probability)
    assert not np.array_equal(contender.before.churn_probability, contender.test.churn_probability)


def test_the_map_of_a_refit_has_the_level_of_the_latest_known_examples(parts: Parts) -> None:
    contender, _, refit = contend(SPEC, parts, replace(PROCEDURE, calibration="platt"), 3)
    latest = latest_known(parts)
    probability, labels = refit.predict(latest).churn_probability, latest.labels
    assert labels is not None
    observed = np.isfinite(labels.churn[:, 0])
    assert probability[observed, 0].mean() == pytest.approx(base_rates(labels.churn)[0], abs=1e-6)
    before, after = contender.calibration, contender.refit_calibration
    assert before is not None
    assert after is not None
    assert after.slope(0) == before.slope(0)
    carried, _, _ = contend(SPEC, parts, replace(PROCEDURE, calibration="platt", refit_map="carried"), 3)
    assert carried.refit_calibration == carried.calibration == before


def test_a_pool_with_a_member_takes_the_kind_of_map_of_the_pool_without(parts: Parts) -> None:
    contender = contend(SPEC, parts, PROCEDURE, 3)[0]
    assert contender.calibration is not None
    for kind in ("none", "platt", "beta"):
        without = replace(contender, calibration=replace(contender.calibration, kind=kind))
        joined = Contender.of(contender.raw, parts, PROCEDURE, without)
        assert joined.calibration is not None
        assert joined.calibration.kind == kind


def test_a_cross_fitted_map_is_taught_by_fits_that_had_not_seen_the_customer(parts: Parts) -> None:
    procedure = replace(PROCEDURE, calibration="platt", refit_map="cross_fitted")
    contender, _, refit = contend(SPEC, parts, procedure, 3)
    assert contender.raw.latest is not None
    latest = latest_known(parts)
    seen = refit._predict(latest).churn_probability
    assert contender.raw.latest.churn_probability.shape == seen.shape
    assert not np.isclose(contender.raw.latest.churn_probability, seen).any()
    assert contender.refit_calibration != contender.calibration


def test_a_fit_that_is_kept_is_not_made_again(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit_windows(SPEC, training)

    def refuse(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitting, "contend", refuse)
    second = fit_windows(SPEC, training)
    pd.testing.assert_frame_equal(second.predictions.to_pandas(), first.predictions.to_pandas())
    assert second.valid_log_loss == first.valid_log_loss
    with pytest.raises(AssertionError, match="fitted again"):
        fit_windows(ModelSpec(SPEC.name, {"products": False}), training)


def test_the_digest_tells_what_a_fit_read(parts: Parts) -> None:
    digest = known_digest(parts)
    changed = parts.known.aggregates.copy()
    changed.iloc[0, 0] += 1e-9
    assert known_digest(replace(parts, known=replace(parts.known, aggregates=changed))) != digest
    steps = parts.train.sequences.event_time.copy()
    steps[0] += 1
    moved = replace(parts.train, sequences=replace(parts.train.sequences, event_time=steps))
    assert known_digest(replace(parts, train=moved)) != digest
    assert known_digest(replace(parts, test=parts.train)) == digest  # the test is not read


def test_pools_average_the_kept_fits_and_the_twin_takes_the_members_place(training: Training, parts: Parts) -> None:
    assert training.folder is not None
    without = train_pool("conventional_pool", SINGLES, training)
    joined = train_pool("recurrent_pool", SINGLES, training)
    twin = train_pool("twin_pool", SINGLES, training)
    assert {choice.best for choice in joined.choices} == {"gru"}
    assert twin.choices == joined.choices
    assert joined.spec.parameters["member"] == "gru"
    assert joined.spec.parameters["specs"]["gru"]["memory"]
    assert not twin.spec.parameters["specs"]["gru"]["memory"]
    assert sorted(without.spec.parameters["specs"]) == ["lightgbm", "logistic_regression", "random_forest"]
    assert (training.folder / "contenders" / "twin_of_gru" / "0-1.json").exists()
    assert without.spent["trees"] > 0
    assert joined.spent["networks"] == 4  # one a seed, fitted twice
    model = joined.spec.build(PROCEDURE.horizons, 7)
    assert model.family == "hybrid"


def test_a_pool_without_its_members_says_what_to_do(training: Training, tmp_path: pytest.TempPathFactory) -> None:
    with pytest.raises(RecurError, match=r"has no fit to pool in .*: run `recur train`"):
        train_pool("conventional_pool", SINGLES, replace(training, folder=tmp_path))


def test_a_member_is_chosen_only_where_it_helps_beyond_doubt(training: Training, parts: Parts) -> None:
    random = np.random.default_rng(0)
    held_out = parts.held_out

    def contender(noise: float) -> Contender:
        """Predictions that know the labels up to noise."""
        said = {}
        for name, data in held_out.items():
            assert data.labels is not None
            churn = np.nan_to_num(data.labels.churn, nan=0.5)
            said[name] = Predictions(np.clip(0.2 + 0.6 * churn + noise * random.normal(size=churn.shape), 0.05, 0.95))
        test = Predictions(np.full((len(parts.test), 2), 0.5))
        return Contender.of(Raw(said, test, test), parts, PROCEDURE)

    poor, good = contender(0.5), contender(0.1)
    helpful = Gains.of([poor], {"gru": [poor], "lstm": [good]}, parts, 0)
    harmful = Gains.of([good], {"gru": [poor], "lstm": [poor]}, parts, 0)
    choice = choose_member([helpful])
    assert (choice.best, choice.chosen) == ("lstm", True)
    assert choice.gain > 0
    assert not choose_member([harmful]).chosen
    assert not choose_member([helpful, harmful]).chosen
    assert [each.best for each in choose(["gru"], training)] == ["gru"]


def test_what_helps_beyond_doubt_is_chosen_before_what_helps_more_by_chance(parts: Parts) -> None:
    customer = np.arange(200)
    wild = np.where(customer < 3, 5.0, 0.0)
    sure = np.full(200, 0.01) + 0.001 * (customer % 2)
    assert choose_member([Gains({"gru": wild, "lstm": sure}, customer)]) == MemberChoice("lstm", sure.mean(), True)
    assert choose_member([Gains({"gru": wild}, customer)]).chosen is False


def test_a_window_before_whose_test_no_member_is_chosen_has_none() -> None:
    certain, doubtful = MemberChoice("lstm", 0.1, True), MemberChoice("gru", 0.1, False)
    assert joining([doubtful, certain]) == (None, "lstm")
    assert joining([doubtful, doubtful]) == ("gru", "gru")


@pytest.mark.parametrize("name", ["recurrent_pool", "twin_pool"])
def test_without_a_member_in_a_window_the_pools_are_the_same_there(
    name: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "joining", lambda _: (None,))
    without, with_none = (train_pool(each, SINGLES, training) for each in ("conventional_pool", name))
    pd.testing.assert_frame_equal(with_none.predictions.to_pandas(), without.predictions.to_pandas())
    assert with_none.spec.parameters["member"] is None


def test_a_pool_is_the_mean_of_logits(parts: Parts) -> None:
    one, two = (contend(ModelSpec(name, SMALL.get(name, {})), parts, PROCEDURE, 3)[0].raw for name in SINGLES[:2])
    both = pool([one, two], PROCEDURE)

    def logits(raw: Raw) -> np.ndarray:
        return np.log(raw.test.churn_probability) - np.log1p(-raw.test.churn_probability)

    assert logits(both) == pytest.approx((logits(one) + logits(two)) / 2, abs=1e-9)


def microseconds_of(days: int) -> int:
    return int(days * DAY.total_seconds() * 1e6)
