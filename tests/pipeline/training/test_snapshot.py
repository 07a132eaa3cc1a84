"""The examples of a training: the same for every model, blind to the future, and made once a cutoff."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset, Labels
from features.time import microseconds
from pipeline.config.settings import Settings
from pipeline.monitoring.retraining import training_due
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import DAY
from pipeline.steps.snapshot import snapshot
from pipeline.training.erasure import erase
from pipeline.training.registry import open_registry
from pipeline.training.snapshot import PARTS, digest
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import (
    FIRST,
    LATER,
    LONGER,
    NEXT,
    PRIMARY,
    churned_by_hand,
    eligible_by_hand,
    snapshot_of,
    write_night,
)

HORIZON = PRIMARY * DAY


def test_parts_of_a_split_do_not_reach_into_one_another(trained_world: World) -> None:
    (split,) = snapshot_of(trained_world.settings).windows
    for earlier, later in pairwise([*(getattr(split, part) for part in PARTS), [FIRST]]):
        assert earlier[-1] + HORIZON <= later[0]


def test_test_examples_and_labels_agree_with_a_pandas_reading(trained_world: World) -> None:
    taken = snapshot_of(trained_world.settings)
    test = taken.part("test")
    expected = [
        (cutoff, customer, float(churned_by_hand(trained_world.events, customer, cutoff)))
        for cutoff in taken.windows[-1].test
        for customer in eligible_by_hand(trained_world.events, cutoff)
    ]
    assert test.labels is not None
    assert test.cutoff.tolist() == [microseconds(cutoff) for cutoff, _, _ in expected]
    assert test.customer_id.tolist() == [customer for _, customer, _ in expected]
    assert test.labels.churn[:, 0].tolist() == [churn for _, _, churn in expected]


def test_an_earlier_part_knows_no_label_past_the_next_ones_beginning(trained_world: World) -> None:
    taken = snapshot_of(trained_world.settings)
    for name, following in pairwise(PARTS):
        part = taken.part(name)
        assert part.labels is not None
        for place, days in enumerate((PRIMARY, LONGER)):
            closed = part.cutoff <= microseconds(getattr(taken.windows[-1], following)[0] - days * DAY)
            np.testing.assert_array_equal(np.isnan(part.labels.churn[:, place]), ~closed)
            np.testing.assert_array_equal(np.isnan(part.labels.spend[:, place]), ~closed)
        assert np.isnan(part.labels.churn[:, 1]).any()


def test_calibration_within_validation_leaves_both_to_know_their_outcomes_until_the_test(trained_world: World) -> None:
    taken = snapshot_of(trained_world.settings)
    (split,) = taken.windows
    shared = replace(taken, windows=(replace(split, calibrate=split.valid[1:]),))
    for part in (shared.part("valid"), shared.part("calibrate")):
        assert part.labels is not None
        closed = part.cutoff <= microseconds(split.test[0] - LONGER * DAY)
        np.testing.assert_array_equal(np.isnan(part.labels.churn[:, 1]), ~closed)


def test_customers_seen_and_unseen_in_training_are_marked(trained_world: World) -> None:
    taken = snapshot_of(trained_world.settings)
    (split,) = taken.windows
    trained = {who for cutoff in split.train for who in eligible_by_hand(trained_world.events, cutoff)}
    assert taken.seen_in_training().tolist() == [who in trained for who in taken.test().customer_id]
    fewer = replace(taken, windows=(replace(split, train=split.train[:1]),))
    assert 0 < fewer.seen_in_training().mean() < 1


def test_labels_are_unknown_until_the_very_end_of_their_horizon(trained_world: World) -> None:
    data = snapshot_of(trained_world.settings).data
    one = data.select(data.cutoff == data.cutoff.min())
    end = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=int(one.cutoff[0])) + HORIZON
    at, before = one.known_at(microseconds(end), 0).labels, one.known_at(microseconds(end) - 1, 0).labels
    assert at is not None
    assert before is not None
    assert not np.isnan(at.churn[:, 0]).any()
    assert np.isnan(before.churn).all()


def test_the_digest_is_of_customers_cutoffs_and_labels(trained_world: World) -> None:
    taken = snapshot_of(trained_world.settings)
    test = taken.part("test")
    assert digest(test) == taken.test_digest

    def with_churn(data: Dataset, row: int) -> Dataset:
        assert data.labels is not None
        churn = data.labels.churn.copy()
        churn[row, 0] = 1 - churn[row, 0]
        return replace(data, labels=Labels(churn, data.labels.purchases, data.labels.spend))

    others = [
        test.select(np.arange(len(test))[1:]),
        with_churn(test, 3),
        replace(test, cutoff=test.cutoff + 1),
        replace(test, customer_id=np.array([*test.customer_id[:-1], "somebody else"], dtype=object)),
    ]
    assert len({digest(other) for other in [test, *others]}) == 5


def test_nothing_that_happens_at_or_after_the_cutoff_changes_the_snapshot(
    trained_world: World, fresh_world: World
) -> None:
    later = fresh_world.events["event_time"] >= pd.Timestamp(FIRST)
    changed = fresh_world.events.assign(
        amount=fresh_world.events["amount"].where(~later, 999.0),
        customer_id=fresh_world.events["customer_id"].where(~later, "cust-000"),
    )
    write_night(fresh_world.settings, changed, FIRST, NEXT)
    write_night(fresh_world.settings, changed, NEXT, LATER)
    snapshot(fresh_world.settings, FIRST)
    for name in ("examples.parquet", "aggregates.parquet", "steps/00000.parquet"):
        ours, theirs = (
            world.settings.state.snapshot(FIRST) / "shards" / "00000" / name for world in (fresh_world, trained_world)
        )
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_trained_cutoff_is_skipped_and_the_next_is_due_after_the_horizon(trained_world: World) -> None:
    settings = trained_world.settings
    with pytest.raises(NothingToDo, match="already trained"):
        snapshot(settings, FIRST)
    assert not training_due(settings, FIRST)
    assert not training_due(settings, FIRST + HORIZON)
    assert training_due(settings, FIRST + HORIZON + DAY)


def test_the_waiting_time_and_the_question_decide_whether_a_training_is_due(trained_world: World) -> None:
    settings = trained_world.settings
    nightly = settings.model_copy(update={"models": settings.models.model_copy(update={"retrain_after": 1})})
    assert not training_due(nightly, FIRST)
    assert training_due(nightly, NEXT)
    other = settings.model_copy(update={"question": settings.question.model_copy(update={"active_within": 56})})
    assert training_due(other, FIRST)


def test_a_snapshot_of_another_question_is_not_read(trained_world: World) -> None:
    settings = trained_world.settings
    other = settings.model_copy(update={"question": settings.question.model_copy(update={"active_within": 56})})
    with pytest.raises(RecurError, match="another question"):
        snapshot_of(other)


def test_an_unfinished_snapshot_is_made_anew_and_its_run_discarded(fresh_world: World) -> None:
    first = snapshot(fresh_world.settings, FIRST)
    second = snapshot(fresh_world.settings, FIRST)
    assert first["test_digest"] == second["test_digest"]
    runs = open_registry(fresh_world.settings).tracking.client
    stages = [runs.get_run(figures["run_id"]).info.lifecycle_stage for figures in (first, second)]
    assert stages == ["deleted", "active"]


def test_a_night_that_is_not_loaded_is_refused(trained_world: World) -> None:
    with pytest.raises(RecurError, match="no night 2020-07-30"):
        snapshot(trained_world.settings, FIRST - 2 * DAY)


def test_too_short_a_history_is_nothing_to_do(fresh_world: World) -> None:
    settings: Settings = fresh_world.settings
    early = FIRST.replace(month=3)
    write_night(settings, fresh_world.events, None, early)
    with pytest.raises(NothingToDo, match=r"as of 2020-\d\d-\d\d or later it can be asked"):
        snapshot(settings, early)
    assert not settings.state.snapshot(early).exists()


def test_an_erased_customer_is_in_no_file_of_the_snapshot(fresh_world: World) -> None:
    settings = fresh_world.settings
    snapshot(settings, FIRST)
    before = snapshot_of(settings).data
    gone = before.customer_id[0]
    assert erase(settings.state, gone) == int((before.customer_id == gone).sum())
    after = snapshot_of(settings).data
    assert gone not in after.customer_id
    rest = before.select(before.customer_id != gone)
    np.testing.assert_array_equal(after.customer_id, rest.customer_id)
    np.testing.assert_array_equal(
        after.sequences.event_time[after.sequences.last_step], rest.sequences.event_time[rest.sequences.last_step]
    )
    assert not [
        file
        for file in settings.state.snapshot(FIRST).rglob("*")
        if file.is_file() and gone.encode() in file.read_bytes()
    ]
    assert erase(settings.state, gone) == 0
