"""The gate is read: who is champion, what the challenger must show, and how a person overrules it."""

import json
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.time import microseconds
from models.calibration import KINDS
from models.evaluation.statements.sides import best_of
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.steps.compare import compare
from pipeline.steps.promote import promote, promote_version
from pipeline.training.registry import CHAMPION, open_registry
from pipeline.training.snapshot import describe_snapshot
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST, LATER, NAMES, PRIMARY, evidence_of, run_training, snapshot_of

FAMILIES = ("recurrent", "hybrid", "neural", "conventional")


def with_models(settings: Settings, *names: str) -> Settings:
    return settings.model_copy(update={"models": settings.models.model_copy(update={"names": names})})


def outcome_of(world: World, cutoff: datetime = FIRST) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads((world.settings.state.snapshot(cutoff) / "promotion.json").read_text())
    return outcome


def test_the_winner_on_validation_is_champion_and_knows_every_closed_example(trained_world: World) -> None:
    settings = trained_world.settings
    winner = best_of(evidence_of(settings).results, FAMILIES)
    champion = open_registry(settings).champion()
    assert winner is not None
    assert champion is not None
    assert champion.name == winner.name
    assert champion.trained_until == FIRST
    assert champion.question_digest == settings.question.digest
    run = open_registry(settings).tracking.client.get_run(champion.run_id)
    assert run.data.metrics["examples"] == len(snapshot_of(settings).data)
    assert run.data.tags["mlflow.parentRunId"] == snapshot_of(settings).run_id


def test_the_refit_keeps_what_validation_found(trained_world: World) -> None:
    champion = open_registry(trained_world.settings).champion()
    assert champion is not None
    assert champion.spec.parameters == evidence_of(trained_world.settings).fitted[champion.name].spec.parameters


def test_the_registered_model_speaks_as_the_one_that_was_fitted(trained_world: World) -> None:
    settings = trained_world.settings
    champion = open_registry(settings).champion()
    assert champion is not None
    data = snapshot_of(settings).data
    loaded = open_registry(settings).load(champion)
    again = champion.spec.build(loaded.horizons, loaded.random_state)
    again.fit(data, None)
    again.calibration = loaded.calibration
    np.testing.assert_array_equal(loaded.predict(data).churn_probability, again.predict(data).churn_probability)


def make_worthless(settings: Settings) -> None:
    """Shuffle the predictions among the customers: calibrated on the whole, and worth nothing."""
    for name in NAMES:
        file = settings.state.snapshot(FIRST) / "predictions" / f"{name}.parquet"
        rows = pd.read_parquet(file)
        test = rows["slice"] == "test"
        shuffled = np.random.default_rng(1).permutation(rows.loc[test, "churn_probability"])
        rows.loc[test, "churn_probability"] = shuffled
        rows.to_parquet(file, index=False)
    describe_snapshot(settings.state.snapshot(FIRST))
    compare(settings, FIRST)


def test_a_model_that_does_not_beat_the_constant_is_refused_but_kept(own_world: World) -> None:
    settings = own_world.settings
    champions = open_registry(settings).champion_history()
    make_worthless(settings)
    outcome = promote(settings, FIRST)
    assert outcome["promoted"] is False
    assert any("does not clearly have a lower log loss than the constant" in reason for reason in outcome["reasons"])
    assert open_registry(settings).champion_history() == champions
    assert open_registry(settings).numbers() == [*champions, outcome["version"]]


def test_without_a_champion_and_where_nothing_passes_the_recency_rule_serves(own_world: World) -> None:
    settings = own_world.settings
    registry = open_registry(settings)
    registry.tracking.client.delete_registered_model_alias(registry.name, CHAMPION)
    make_worthless(settings)
    outcome = promote(settings, FIRST)
    champion = open_registry(settings).champion()
    assert champion is not None
    assert (outcome["promoted"], outcome["version"], champion.name) == (False, champion.number, "recency")
    assert "recency rule serves" in outcome["reasons"][-1]


def test_the_same_recipe_is_renewed_and_the_artefact_that_knows_no_test_is_the_measure(own_world: World) -> None:
    settings = own_world.settings
    outcome = promote(settings, FIRST)
    assert "its recipe on the same examples stands for it" in outcome["reasons"][0]
    assert outcome["promoted"], "the same recipe on the same examples is not worse than itself"
    champion = open_registry(settings).champion()
    assert champion is not None
    run_training(with_models(settings, champion.name), LATER)
    later = outcome_of(own_world, LATER)
    assert later["reasons"][0].endswith("is the champion")
    assert any("than the champion of the same recipe" in reason for reason in later["reasons"])


def test_a_reigning_recipe_that_is_not_among_the_models_is_fitted_on_the_same_splits(own_world: World) -> None:
    settings = own_world.settings
    champion = open_registry(settings).champion()
    assert champion is not None
    (other,) = set(NAMES) - {champion.name}
    run_training(with_models(settings, other), LATER)
    later = outcome_of(own_world, LATER)
    assert "fitted once more on the same splits" in later["reasons"][0]
    assert any(reason.startswith(other) and f"the champion {champion.label}" in reason for reason in later["reasons"])


def make_right(settings: Settings, cutoff: datetime, name: str, wrong_of: int = 7, valid: float = 0.0) -> None:
    """Let the recipe `name` have the log loss `valid` on validation, and its predictions be wrong for one customer in
    `wrong_of`, and know it.
    """
    folder = settings.state.snapshot(cutoff)
    result = json.loads((folder / "results" / f"{name}.json").read_text("utf-8"))
    (folder / "results" / f"{name}.json").write_text(json.dumps(result | {"valid_log_loss": valid}), "utf-8")
    file = folder / "predictions" / f"{name}.parquet"
    rows = pq.read_table(file)
    wrong = np.random.default_rng(1).random(len(rows)) < 1 / wrong_of
    churned = rows["churn"].to_numpy() == 1
    sign = churned != wrong
    probability = np.where(sign, churned[sign].mean(), churned[~sign].mean())
    position = rows.column_names.index("churn_probability")
    pq.write_table(rows.set_column(position, "churn_probability", pa.array(probability)), file)
    describe_snapshot(folder)


def test_another_recipe_takes_over_when_it_is_ahead_in_several_trainings_in_a_row(own_world: World) -> None:
    settings, first = own_world.settings, own_world.settings.state.snapshot(FIRST) / "promotion.json"
    reigning = open_registry(settings).champion()
    assert reigning is not None
    (other,) = set(NAMES) - {reigning.name}
    run_training(settings, LATER)
    make_right(settings, LATER, other)
    make_right(settings, LATER, reigning.name, wrong_of=5, valid=0.1)
    compare(settings, LATER)
    content = json.loads(first.read_text("utf-8"))
    assert content["nomination"] is None, "a first champion needs no confirmation"

    first.unlink()
    describe_snapshot(first.parent)
    once = promote(settings, LATER)
    assert (once["promoted"], once["recipe"]) == (False, other)
    nomination = once["nomination"]
    assert (nomination["name"], nomination["champion"], nomination["trainings"]) == (other, reigning.spec.identity, 1)
    assert any("in training 1 of the 4 in a row" in reason for reason in once["reasons"])
    champion = open_registry(settings).champion()
    assert champion is not None
    assert (champion.name, champion.trained_until) == (reigning.name, LATER), "its own recipe is renewed meanwhile"
    assert any("meanwhile" in reason for reason in once["reasons"])

    earlier = nomination | {
        "trainings": 3,
        "cutoff": microseconds(FIRST),
        "tested": microseconds(FIRST - PRIMARY * DAY),
    }
    first.write_text(json.dumps(content | {"nomination": earlier}), "utf-8")
    describe_snapshot(first.parent)
    fourth = promote(settings, LATER)
    assert (fourth["promoted"], fourth["recipe"], fourth["nomination"]) == (True, other, None)
    assert any("in training 4 of the 4 in a row" in reason for reason in fourth["reasons"])
    champion = open_registry(settings).champion()
    assert champion is not None
    assert champion.number == fourth["version"]


def test_a_recipe_that_only_serves_for_want_of_another_gives_way_at_once(own_world: World) -> None:
    settings = own_world.settings
    registry = open_registry(settings)
    registry.tracking.client.delete_registered_model_alias(registry.name, CHAMPION)
    make_worthless(settings)
    promote(settings, FIRST)
    run_training(settings, LATER)
    make_right(settings, LATER, "logistic_regression")
    compare(settings, LATER)
    assert promote(settings, LATER)["promoted"]
    champion = open_registry(settings).champion()
    assert champion is not None
    assert champion.name == "logistic_regression"


def test_the_champion_carries_the_calibration_of_the_splits_at_its_own_level(
    trained_world: World,
) -> None:
    settings = trained_world.settings
    champion = open_registry(settings).champion()
    assert champion is not None
    calibration = open_registry(settings).load(champion).calibration
    assert calibration is not None
    before = evidence_of(settings).fitted[champion.name].calibration
    assert before is not None
    assert (calibration.kind, calibration.factors) == (before.kind, before.factors)
    assert calibration.kind in KINDS
    labels = snapshot_of(settings).part("test").labels
    assert labels is not None
    rates = [column[np.isfinite(column)] for column in labels.churn.T]
    assert calibration.base_rate == [rate.mean() if len(rate) else None for rate in rates]


def test_a_champion_of_another_question_does_not_stand_in_the_way(own_world: World) -> None:
    settings = own_world.settings
    other = settings.model_copy(update={"question": settings.question.model_copy(update={"active_within": 35})})
    run_training(with_models(other, "recency"), FIRST)
    assert "answers another question" in outcome_of(own_world)["reasons"][0]
    champion = open_registry(other).champion()
    assert champion is not None
    assert champion.question_digest == other.question.digest


def test_by_hand_the_champion_changes_and_comes_back(own_world: World) -> None:
    settings = own_world.settings
    with pytest.raises(RecurError, match="no earlier champion"):
        open_registry(settings).roll_back()
    second = promote(settings, FIRST)["version"]
    first = open_registry(settings).numbers()[0]
    promote_version(open_registry(settings), first)
    assert open_registry(settings).champion_history()[-1] == first
    assert open_registry(settings).roll_back().number == second
    champion = open_registry(settings).champion()
    assert champion is not None
    assert champion.number == second


def test_an_alias_moved_in_mlflows_own_page_is_the_truth(own_world: World) -> None:
    settings = own_world.settings
    second = promote(settings, FIRST)["version"]
    registry = open_registry(settings)
    registry.tracking.client.set_registered_model_alias(registry.name, CHAMPION, "1")
    assert registry.champion_history() == [1, second, 1]
    assert open_registry(settings).roll_back().number == second


def test_a_version_that_does_not_exist_or_answers_another_question_is_refused(trained_world: World) -> None:
    settings = trained_world.settings
    with pytest.raises(RecurError, match="has no version 99; it has 1"):
        promote_version(open_registry(settings), 99)
    other = settings.model_copy(update={"question": settings.question.model_copy(update={"active_within": 35})})
    with pytest.raises(RecurError, match="answers question"):
        promote_version(open_registry(other), 1)


def test_nothing_is_promoted_before_a_comparison(own_world: World) -> None:
    (own_world.settings.state.snapshot(FIRST) / "comparison.json").unlink()
    with pytest.raises(RecurError, match="were not compared yet"):
        promote(own_world.settings, FIRST)
    with pytest.raises(RecurError, match="no snapshot"):
        promote(own_world.settings, FIRST + DAY)
