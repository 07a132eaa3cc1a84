"""Scores: every eligible customer and nobody else, by what was known at the cutoff, from a champion who may."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.sections import Addresses, Models
from pipeline.config.settings import Settings
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.scoring.champion import champion_or_none
from pipeline.scoring.explain import explain
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.reasons import RISEN, most_risen, with_windows_left
from pipeline.scoring.whole_histories import read_night
from pipeline.serving.database import open_predictions
from pipeline.steps.promote import promote_version
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.training.registry import open_registry
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import (
    ACTIVE,
    FIRST,
    LATER,
    LONGER,
    NEXT,
    PRIMARY,
    eligible_by_hand,
    night,
    run_training,
    write_night,
)

SCORED = pa.schema(
    [
        ("customer_id", pa.string()),
        ("horizon_days", pa.int64()),
        *((name, pa.float64()) for name in ("churn_probability", "expected_purchases", "expected_spend")),
        ("reasons", pa.string()),
        ("days_since_last_event", pa.float64()),
        *((name, pa.string()) for name in ("model_name", "model_version", "run_id", "question_digest", "curve")),
    ]
)


def scores_of(settings: Settings, which: Night) -> pd.DataFrame:
    score(settings, which)
    return pd.read_parquet(settings.state.scored(which))


def test_every_eligible_customer_is_scored_at_every_horizon_in_order(own_world: World) -> None:
    for cutoff in (FIRST, NEXT, LATER):
        figures = score(own_world.settings, night(cutoff))
        table = pq.read_table(own_world.settings.state.scored(night(cutoff)))
        expected = eligible_by_hand(own_world.events, cutoff)
        assert table.schema.equals(SCORED)
        assert table["customer_id"].to_pylist() == [customer for customer in expected for _ in range(2)]
        assert table["horizon_days"].to_pylist() == [PRIMARY, LONGER] * len(expected)
        assert figures["rows_scored"] == len(expected)


def test_a_score_is_the_champions_own_and_says_whose(own_world: World) -> None:
    settings = own_world.settings
    rows = scores_of(settings, night(NEXT))
    champion = open_registry(settings).champion()
    assert champion is not None
    said = open_registry(settings).load(champion).predict(read_night(ScoringInputs.open(settings), NEXT).data)
    np.testing.assert_array_equal(rows["churn_probability"], said.churn_probability.ravel())
    assert set(rows["model_version"]) == {str(champion.number)}
    assert set(rows["model_name"]) == {champion.name}
    assert set(rows["run_id"]) == {champion.run_id}
    assert set(rows["question_digest"]) == {settings.question.digest}


def test_recency_is_counted_to_the_cutoff(own_world: World) -> None:
    rows = scores_of(own_world.settings, night(NEXT)).query(f"horizon_days == {PRIMARY}")
    events = own_world.events[own_world.events["event_time"] < NEXT]
    last = events.groupby("customer_id")["event_time"].max().loc[rows["customer_id"]]
    recency = (pd.Timestamp(NEXT) - last) / pd.Timedelta(days=1)
    np.testing.assert_allclose(rows["days_since_last_event"], recency, rtol=0, atol=1e-9)


def test_reasons_are_given_for_the_share_most_at_risk(own_world: World) -> None:
    rows = scores_of(own_world.settings, night(NEXT)).query(f"horizon_days == {PRIMARY}")
    told = rows[rows["reasons"].notna()]
    assert 0 < len(told) <= np.ceil(0.1 * len(rows))
    assert told["churn_probability"].min() >= rows.loc[rows["reasons"].isna(), "churn_probability"].max()
    assert told["reasons"].str.contains("no event for").all()


def test_reasons_are_given_for_those_who_rose(own_world: World) -> None:
    settings = own_world.settings
    before = scores_of(settings, night(FIRST)).query(f"horizon_days == {PRIMARY}").set_index("customer_id")
    publish(settings, night(FIRST))
    rows = scores_of(settings, night(NEXT)).query(f"horizon_days == {PRIMARY}").set_index("customer_id")
    rose = rows["churn_probability"] > before["churn_probability"].reindex(rows.index)
    explained = rows["reasons"].notna()
    share = settings.serving.reasons_share
    most = rows["churn_probability"].rank(ascending=False, method="min") <= np.ceil(share * len(rows))
    assert 0 < rose.sum() < RISEN  # so that all of them are meant
    assert explained[rose & ~most].mean() > 0.25  # nothing raises the risk of the others above a typical customer's
    assert not explained[~rose & ~most].any()


def test_what_has_just_left_a_window_is_said() -> None:
    recency = np.array([28.2, 14.0, 27.9, 57.1, 28.2])
    reasons = with_windows_left(["a", None, "c", "d", "e"], np.array([0, 1, 2, 3]), recency, 1)
    words = "the last event has just left the {} days that the model counts"
    assert reasons == [f"a; {words.format(28)}", words.format(14), "c", "d", "e"]
    assert with_windows_left(["d"], np.array([0]), recency[3:4], 2) == [f"d; {words.format(56)}"]


def test_those_who_rose_most_are_the_hundred_with_the_largest_change() -> None:
    change = np.random.default_rng(1).normal(size=400)
    change[:9] = np.nan
    rose = most_risen(change)
    assert len(rose) == RISEN
    assert np.nanmin(change[rose]) >= np.nanmax(np.delete(change, rose))
    assert most_risen(np.array([np.nan, -0.1, 0.0, 0.2])).tolist() == [3]


def test_scoring_again_gives_the_same_bytes(own_world: World) -> None:
    path = own_world.settings.state.scored(night(NEXT))
    score(own_world.settings, night(NEXT))
    first = path.read_bytes()
    score(own_world.settings, night(NEXT))
    assert path.read_bytes() == first


def test_nothing_at_or_after_the_cutoff_changes_a_score(own_world: World) -> None:
    before = scores_of(own_world.settings, night(NEXT))
    later = own_world.events["event_time"] >= pd.Timestamp(NEXT)
    changed = own_world.events.assign(amount=own_world.events["amount"].where(~later, 9999.0))
    write_night(own_world.settings, changed[changed["customer_id"] != "cust-001"], NEXT, LATER)
    pd.testing.assert_frame_equal(scores_of(own_world.settings, night(NEXT)), before, check_exact=True)


def test_a_fresh_purchase_does_not_raise_the_risk(own_world: World) -> None:
    before = scores_of(own_world.settings, night(NEXT)).query(f"horizon_days == {PRIMARY}").set_index("customer_id")
    silent = before["days_since_last_event"].idxmax()
    fresh = pd.DataFrame([("fresh", silent, pd.Timestamp(NEXT) - pd.Timedelta(hours=3), 30.0, "a")])
    fresh.columns = own_world.events.columns
    write_night(own_world.settings, pd.concat([own_world.events, fresh], ignore_index=True), FIRST, NEXT)
    after = scores_of(own_world.settings, night(NEXT)).query(f"horizon_days == {PRIMARY}").set_index("customer_id")
    assert after.loc[silent, "churn_probability"] < before.loc[silent, "churn_probability"]


def test_without_a_champion_there_is_nothing_to_do_and_nothing_to_publish(fresh_world: World) -> None:
    stale = fresh_world.settings.state.scored(night(FIRST))
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"left by an earlier run")
    with pytest.raises(NothingToDo, match="no champion yet"):
        score(fresh_world.settings, night(FIRST))
    with pytest.raises(NothingToDo):
        publish(fresh_world.settings, night(FIRST))


def test_a_lost_database_of_mlflow_is_not_a_first_night(own_world: World, empty_mlflow: Path) -> None:
    settings = own_world.settings
    score(settings, night(NEXT))
    publish(settings, night(NEXT))
    database = shutil.copy(empty_mlflow, settings.root / "anew.db")
    anew = settings.model_copy(update={"addresses": Addresses(mlflow=f"sqlite:///{database}")})
    with pytest.raises(RecurError, match=rf"knows no champion, although version \d .* scored the night {NEXT.date()}"):
        score(anew, night(NEXT))
    quick = anew.model_copy(update={"models": Models(names=("recency",))})
    run_training(quick, NEXT)  # the advice
    assert score(anew, night(NEXT))["rows_scored"]


def test_a_lost_alias_comes_back_by_promoting_a_version(own_world: World) -> None:
    settings = own_world.settings
    score(settings, night(NEXT))
    publish(settings, night(NEXT))
    registry, predictions = open_registry(settings), open_predictions(settings.predictions, settings.root)
    before = registry.champion()
    registry.tracking.client.delete_registered_model_alias(registry.name, "champion")
    with pytest.raises(RecurError, match="promote a version that it has with `recur promote`"):
        champion_or_none(registry, predictions)
    assert before
    assert promote_version(registry, before.number) == before
    assert champion_or_none(registry, predictions) == before


def test_a_champion_that_knows_the_future_may_not_score(own_world: World) -> None:
    early = FIRST - DAY
    write_night(own_world.settings, own_world.events, None, early)
    with pytest.raises(RecurError, match="knows what happened after 2020-07-31"):
        score(own_world.settings, night(early))
    assert not own_world.settings.state.scored(night(early)).exists()


def test_a_champion_of_another_question_may_not_score(own_world: World) -> None:
    settings = own_world.settings
    other = settings.model_copy(update={"question": settings.question.model_copy(update={"active_within": 35})})
    with pytest.raises(RecurError, match="answers question"):
        score(other, night(NEXT))


def test_a_night_that_is_not_loaded_is_refused(own_world: World) -> None:
    with pytest.raises(RecurError, match="no night 2020-08-03"):
        score(own_world.settings, night(NEXT + DAY))


def test_explain_agrees_with_the_published_score(own_world: World) -> None:
    settings = own_world.settings
    score(settings, night(LATER))
    publish(settings, night(LATER))
    rows = pd.read_parquet(settings.state.scored(night(LATER))).query(f"horizon_days == {PRIMARY}")
    told = rows[rows["reasons"].notna()].iloc[0]
    explanation = explain(settings, told["customer_id"])
    assert explanation["score_date"] == LATER.date()
    assert explanation["churn_probability"] == pytest.approx(told["churn_probability"], abs=1e-9)
    assert "; ".join(explanation["reasons"]) == told["reasons"]
    assert list(explanation["contributions"].values()) == sorted(explanation["contributions"].values(), reverse=True)
    assert [row["churn_probability"] for row in explanation["history"]] == [told["churn_probability"]]


def test_explain_tells_who_is_not_asked_about(own_world: World) -> None:
    settings = own_world.settings
    score(settings, night(FIRST))
    publish(settings, night(FIRST))
    gone = sorted(set(eligible_by_hand(own_world.events, FIRST)) - set(eligible_by_hand(own_world.events, LATER)))
    explanation = explain(settings, gone[0])
    assert explanation["churn_probability"] is None
    assert len(explanation["history"]) == 1
    with pytest.raises(RecurError, match=f"no event in the {ACTIVE} days before"):
        explain(settings, "nobody")
