"""Carried state predicts what whole histories predict, and is kept and dropped as it should be."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.dataset import Dataset
from features.question import Question
from models import model_class
from models.base import Model, Predictions
from models.calibration import Calibration
from models.conventional.recency import Recency
from models.explanation.attributions import attributions
from models.explanation.reasons import figures
from models.pools.conventional_pool import ConventionalPool
from models.pools.recurrent_pool import RecurrentPool
from models.pools.twin_pool import TwinPool
from pipeline.event_store.store import open_store
from pipeline.runtime.nights import DAY
from pipeline.scoring import erasure
from pipeline.scoring.checkpoints import Checkpoints, carried_folder, checkpoint_folders, read_plan
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.query import QueryShard, carried_aggregates, dataset_without_histories
from pipeline.scoring.reasons import reasons_of
from pipeline.scoring.shard import StateShard
from pipeline.scoring.state_updater import StateUpdater
from tests.support.untrained import untrained
from tests.support.worlds.carried_world import (
    START,
    difference,
    made_up_revisions,
    make_world,
    recomputed,
    updater,
    version,
    write_night,
)
from tests.support.worlds.damage import DAMAGES, harm

FIRST = START + 100 * DAY
NIGHTS = 14
TOLERANCE = 1e-5


class World:
    """A store of some nights, and models that may score each of them."""

    def __init__(self, folder: Path) -> None:
        self.settings, self.revisions = make_world(folder), made_up_revisions(100 + NIGHTS, 30, 250, seed=4)
        for night in range(NIGHTS):
            end = FIRST + night * DAY
            write_night(self.settings, self.revisions, end - DAY if night else None, end)
        examples = recomputed(self.settings, FIRST, [FIRST - 28 * DAY])
        self.models: dict[str, Model] = {
            "lstm": untrained("lstm", examples, units=4, seeds=2),
            "hybrid_gru": untrained("hybrid_gru", examples, units=4, seeds=2),
        }
        grid = [FIRST - days * DAY for days in (56, 49, 42, 35, 28)]
        for member in ("lstm", "hybrid_gru"):
            members = conventional_members(recomputed(self.settings, FIRST, grid)) | {member: self.models[member]}
            pool = RecurrentPool.of(examples.horizons, 5, members, member=member)
            pool.calibration = Calibration("platt", [[[0.2, 1.3]]] * 2, {"spend": [1.1, 0.9]}, [None] * 2, [None] * 2)
            self.models[f"recurrent_pool of {member}"] = pool

    def updater(self, name: str, number: int = 1) -> StateUpdater:
        model_version = version(self.settings, name, number)
        return updater(self.settings, model_version, self.models[name], events_a_shard=200)


def conventional_members(examples: Dataset) -> dict[str, Model]:
    """Fitted."""
    small: dict[str, dict[str, Any]] = {
        "logistic_regression": {},
        "random_forest": {"trees": 10, "min_examples_a_leaf": 3},
        "lightgbm": {"max_rounds": 60, "min_examples_a_leaf": 3},
    }
    members = {name: model_class(name)(examples.horizons, 0, **parameters) for name, parameters in small.items()}
    for member in members.values():
        member.fit(examples, None)
    return members


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("carried"))


@pytest.fixture
def world(made: World, tmp_path: Path) -> Iterator[World]:
    """The world with nothing carried yet; its store as it was made."""
    store = made.settings.events
    shutil.copytree(store, tmp_path / "store")
    shutil.rmtree(carried_folder(made.settings.state), ignore_errors=True)
    yield made
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "store", store)


def test_a_pool_gives_the_reasons_of_all_its_members(world: World) -> None:
    """From examples that are read again for those most at risk, as a night does it."""
    pool, data = world.models["recurrent_pool of lstm"], recomputed(world.settings, FIRST)
    groups = attributions(pool, data, 0, data)
    assert {"last_event", "events", "shop", "amount"} <= set(groups.columns)
    assert any(reasons_of(pool, data, 0, data))
    alone = attributions(world.models["lstm"], data, 0, data)
    assert not np.allclose(groups["last_event"], alone["last_event"])


def folder_of(world: World, name: str, number: int = 1) -> Path:
    return Checkpoints(world.settings.state, version(world.settings, name, number)).folder


def same(one: list[tuple[QueryShard, Predictions]], other: list[tuple[QueryShard, Predictions]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        query.customers.equals(again.customers) and np.array_equal(a.churn_probability, b.churn_probability)
        for (query, a), (again, b) in pairs
    )


@pytest.mark.parametrize("name", ["lstm", "hybrid_gru", "recurrent_pool of lstm", "recurrent_pool of hybrid_gru"])
def test_every_night_agrees_with_whole_histories(world: World, name: str) -> None:
    carried = world.updater(name)
    for night in (0, 1, 5, 13):  # some nights are skipped, and caught up with
        cutoff = FIRST + night * DAY
        data = recomputed(world.settings, cutoff)
        assert difference(carried, cutoff, data, world.models[name]) < TOLERANCE
        others = [who for query, _ in carried.predictions(cutoff) for who in query.not_eligible.to_pylist()]
        known = world.revisions[(world.revisions["known_time"] <= cutoff) & (world.revisions["event_time"] < cutoff)]
        assert not set(others) & set(data.customer_id)
        assert set(others) | set(data.customer_id) <= set(known["customer_id"])
    assert len(read_plan(next(checkpoint_folders(world.settings.state))).starts) > 0


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["customers", "days", "seen.0", "sha256", "plan.json"])
def test_damaged_state_is_computed_again(world: World, kind: str, damage: str) -> None:
    world.updater("hybrid_gru").predictions(FIRST)
    expected = world.updater("hybrid_gru").predictions(FIRST + DAY)
    [folder] = folder_of(world, "hybrid_gru").glob(f"{(FIRST + DAY).date()}")
    shutil.rmtree(folder)
    origin = folder.with_name(str(FIRST.date()))
    file = origin / kind if kind == "plan.json" else next(origin.glob(f"0001.{kind}*"))
    harm(file, damage)
    again = world.updater("hybrid_gru").predictions(FIRST + DAY)
    for (one, predicted), (other, repeated) in zip(expected, again, strict=True):
        assert one.customers.equals(other.customers)
        np.testing.assert_allclose(predicted.churn_probability, repeated.churn_probability, atol=TOLERANCE)


@pytest.mark.parametrize("question", [{}, {"activity": ("purchase",), "ends_with": ("visit",), "active_within": 20}])
def test_a_model_without_a_state_reads_the_aggregates_of_the_whole_past(world: World, question: Any) -> None:
    question = world.settings.question.model_copy(update=question)
    settings = world.settings.model_copy(update={"question": question})
    examples = recomputed(settings, FIRST, [FIRST - days * DAY for days in (56, 49, 42, 35, 28)])
    rule, members = Recency(question.horizons, 0), conventional_members(examples)
    rule.fit(examples, None)
    model = members["logistic_regression"]
    twin = untrained("hybrid_gru", examples, units=4, memory=False)
    pools = (
        ConventionalPool.of(question.horizons, 0, members),
        TwinPool.of(question.horizons, 0, members | {"hybrid_gru": twin}, member="hybrid_gru"),
    )
    inputs, champion = ScoringInputs.open(settings), version(settings, "logistic_regression")
    carried = StateUpdater(inputs, champion, model, events_a_shard=200)
    for night in (0, 1, 5, 13):
        cutoff = FIRST + night * DAY
        found = dataset_without_histories(carried.queries(cutoff), question.horizons)
        data = recomputed(settings, cutoff)
        assert found.customer_id.tolist() == data.customer_id.tolist()
        pd.testing.assert_frame_equal(found.aggregates, data.aggregates, check_exact=True)
        last = data.sequences.event_time[data.sequences.last_step]
        np.testing.assert_array_equal(found.sequences.event_time[found.sequences.last_step], last)
        pd.testing.assert_frame_equal(figures(found), figures(data), check_exact=True)
        for one in (model, rule, twin, *pools):
            for value in ("churn_probability", "expected_purchases", "expected_spend"):
                np.testing.assert_array_equal(getattr(one.predict(found), value), getattr(one.predict(data), value))
            assert reasons_of(one, found, 0, found) == reasons_of(one, data, 0, data)
        own = pa.array(data.customer_id[::3].tolist(), pa.string())
        some = carried_aggregates(inputs, champion, cutoff, own)
        assert some is not None
        pd.testing.assert_frame_equal(some, data.aggregates[::3].reset_index(drop=True), check_exact=True)
    assert carried_aggregates(inputs, version(settings, "another"), cutoff, own) is None


def test_a_question_that_tells_events_apart(world: World) -> None:
    asked = {"activity": ("purchase",), "exclude_values": {"shop": ("c",)}, "exclude_customers": ("c0003",)}
    question = Question(active_within=20, horizons=(14, 28), ends_with=("visit",), **asked)
    settings = world.settings.model_copy(update={"question": question})
    examples = recomputed(settings, FIRST, [FIRST - 28 * DAY])
    for name in ("hybrid_gru", "simple_rnn"):
        model = untrained(name, examples, units=4)
        carried = updater(settings, version(settings, name), model)
        for night in (0, 3, 13):
            cutoff = FIRST + night * DAY
            data = recomputed(settings, cutoff)
            assert 0 < len(data) < len(recomputed(world.settings, cutoff))
            assert difference(carried, cutoff, data, model) < TOLERANCE


def test_a_night_reads_its_own_object_alone(world: World) -> None:
    quiet = world.revisions[~world.revisions["event_id"].duplicated(keep=False)]
    quiet = quiet[quiet["known_time"] <= quiet["event_time"] + DAY]
    write_nights(world, quiet)
    carried = world.updater("hybrid_gru")
    carried.predictions(FIRST)
    file = world.settings.events / f"{FIRST.date()}.parquet"
    file.write_bytes(b"PAR1" + bytes(200) + file.read_bytes()[204:])  # nothing of it but its footer can be read
    assert sum(len(query.customers) for query, _ in carried.predictions(FIRST + DAY)) > 0


def test_a_night_scored_again_is_the_same(world: World) -> None:
    carried = world.updater("lstm")
    carried.predictions(FIRST)
    first = carried.predictions(FIRST + DAY)
    assert same(first, world.updater("lstm").predictions(FIRST + DAY))
    shutil.rmtree(folder_of(world, "lstm") / f"{FIRST.date() + DAY}")
    assert same(first, carried.predictions(FIRST + DAY))


def test_what_was_killed_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, write = world.updater("hybrid_gru").predictions(FIRST), StateShard.write
    shutil.rmtree(carried_folder(world.settings.state))
    made: list[int] = []

    def killed(shard: StateShard, folder: Path, number: int) -> None:
        if number == 1 and not made[1:]:
            made.append(number)
            raise KeyboardInterrupt
        made.append(number)
        write(shard, folder, number)

    monkeypatch.setattr(StateShard, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        world.updater("hybrid_gru").predictions(FIRST)
    assert same(expected, world.updater("hybrid_gru").predictions(FIRST))
    assert sorted(made)[:3] == [0, 1, 1]  # in whichever order the threads came to them


def test_state_is_of_one_model(world: World) -> None:
    world.updater("lstm").predictions(FIRST)
    cutoff = FIRST + DAY
    assert (
        difference(world.updater("lstm", 2), cutoff, recomputed(world.settings, cutoff), world.models["lstm"])
        < TOLERANCE
    )
    kept = [folder.parent for folder in checkpoint_folders(world.settings.state)]
    assert kept == [folder_of(world, "lstm", 2)]


def test_few_events_are_one_shard(world: World) -> None:
    whole = updater(world.settings, version(world.settings, "lstm"), world.models["lstm"])
    assert len(whole.predictions(FIRST)) == 1
    assert difference(whole, FIRST, recomputed(world.settings, FIRST), world.models["lstm"]) < TOLERANCE


def test_a_night_loaded_again_is_recomputed(world: World) -> None:
    carried = world.updater("lstm")
    for cutoff in (FIRST, FIRST + DAY):
        carried.predictions(cutoff)
    other = world.revisions.assign(amount=33.0)
    write_night(world.settings, other, FIRST, FIRST + DAY)
    data = recomputed(world.settings, FIRST + DAY)
    assert difference(carried, FIRST + DAY, data, world.models["lstm"]) < TOLERANCE


def test_an_erased_customer_is_gone_and_nobody_is_recomputed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = world.revisions.groupby("event_id")["customer_id"].transform("nunique")
    events = world.revisions[owners == 1]
    write_nights(world, events)
    carried = world.updater("lstm")
    carried.predictions(FIRST)
    [folder] = checkpoint_folders(world.settings.state)
    customer = read_plan(folder).starts[0]
    write_nights(world, events[events["customer_id"] != customer])
    assert erasure.erase(open_store(world.settings), world.settings.state, customer) > 0
    assert not [file for file in folder.glob("*") if customer.encode() in file.read_bytes()]
    monkeypatch.setattr(StateUpdater, "_from_scratch", None)
    cutoff = FIRST + DAY
    assert difference(carried, cutoff, recomputed(world.settings, cutoff), world.models["lstm"]) < TOLERANCE


@pytest.mark.parametrize("damage", DAMAGES)
def test_erasing_seals_no_damage(world: World, damage: str) -> None:
    world.updater("lstm").predictions(FIRST)
    [folder] = checkpoint_folders(world.settings.state)
    customer = read_plan(folder).starts[0]
    harm(sorted(folder.glob("*.customers.arrow"))[-1], damage)
    assert erasure.erase(open_store(world.settings), world.settings.state, customer) == 0
    assert not folder.exists()  # and everybody is computed again


def write_nights(world: World, revisions: pd.DataFrame) -> None:
    write_night(world.settings, revisions, None, FIRST)
    write_night(world.settings, revisions, FIRST, FIRST + DAY)
