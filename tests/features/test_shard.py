"""The dataset against a plain-pandas reading, and against changes that must not matter."""

from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregates.definitions import definitions
from features.aggregates.sums import money_units
from features.dataset import Dataset
from features.examples.merging import together
from features.examples.revisions import Revisions
from features.examples.shard import build_shard
from features.question import Question
from features.time import microseconds
from tests.support.ibis_oracle import examples_and_labels
from tests.support.oracle import hold_against_the_plain_reading
from tests.support.worlds.event_worlds import ATTRIBUTES, END, FREQUENT, START, request, revisions, table
from tests.support.worlds.event_worlds import build as build_one

QUESTION = Question(active_within=40, horizons=(14, 30), cutoff_every=10)
QUESTIONS = {
    "every event": QUESTION,
    "activity, a gap and the next event": QUESTION.model_copy(
        update={"activity": ("purchase",), "gap": 3, "next_event": True, "calendar": True}
    ),
    "purchases of whoever was there": QUESTION.model_copy(
        update={"comes_back_with": ("purchase",), "next_event": True, "exclude_types": ("cancel",)}
    ),
    "an end": QUESTION.model_copy(update={"ends_with": ("cancel",), "gap": 2, "event_types": ("view",)}),
    "exclusions": QUESTION.model_copy(
        update={
            "exclude_customers": ("c01",),
            "exclude_types": ("view",),
            "exclude_values": {"store": ("s1",)},
            "next_event": True,
        }
    ),
}
CUTOFFS = [START + timedelta(days=days) for days in (60, 90, 120, 150, 180)]


def build(rows: pd.DataFrame, cutoffs: list[datetime] = CUTOFFS, question: Question = QUESTION) -> Dataset:
    return build_one(rows, cutoffs, question)


@pytest.mark.parametrize("name", QUESTIONS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_examples_aggregates_sequences_and_labels_equal_the_plain_reading(name: str, seed: int) -> None:
    question, rows = QUESTIONS[name], revisions(seed)
    data = build(rows, question=question)
    hold_against_the_plain_reading(
        data, rows, CUTOFFS, END, question, ATTRIBUTES, question.spec(ATTRIBUTES, FREQUENT).told_apart
    )


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    which=st.sampled_from(["drop", "double", "move"]),
    question=st.sampled_from(list(QUESTIONS.values())),
)
def test_nothing_at_or_after_a_cutoff_changes_its_features(seed: int, which: str, question: Question) -> None:
    """The leak test: whatever happens at or after the cutoff, or becomes known only after it, moves no bit."""
    rows, cutoff = revisions(seed), CUTOFFS[2]
    before = build(rows, [cutoff], question)
    future = (rows["event_time"] >= pd.Timestamp(cutoff)) | (rows["known_time"] > pd.Timestamp(cutoff))
    if which == "drop":
        changed = rows[~future]
    elif which == "double":
        extra = rows[future].assign(event_id=lambda frame: "x" + frame["event_id"])
        changed = pd.concat([rows, extra])
    else:
        late = rows["known_time"] > pd.Timestamp(cutoff)
        changed = rows.assign(
            amount=rows["amount"].mask(late, 9_999.0),
            store=rows["store"].mask(late, "future"),
            event_type=rows["event_type"].mask(late, "cancel"),
        )
    after = build(changed, [cutoff], question)
    pd.testing.assert_frame_equal(before.aggregates, after.aggregates, check_exact=True)
    assert before.customer_id.tolist() == after.customer_id.tolist()
    for row in range(len(before)):
        assert _visible_steps(before, row) == _visible_steps(after, row)


def _visible_steps(data: Dataset, row: int) -> list[tuple]:
    steps = data.sequences
    start = steps.offsets[steps.history[row]]
    span = range(start, start + steps.length[row])
    codes, values = steps.categorical["store"]
    return [
        (steps.event_time[i], repr(steps.numeric["amount"][i]), values[codes[i]] if codes[i] >= 0 else None)
        for i in span
    ]


@pytest.mark.parametrize("change", [{"customer_id": "account"}, {"deleted": True}])
def test_who_is_known_no_more_has_no_label(change: dict[str, object]) -> None:
    """An anonymous id that became an account, and an order that was erased: nobody churned."""
    cutoff = CUTOFFS[0]
    then, later = pd.Timestamp(cutoff - timedelta(days=3)), pd.Timestamp(cutoff + timedelta(days=2))
    first = revisions(1, unusual=0.0).head(1).assign(customer_id="anonymous", event_time=then, known_time=then)
    rows = pd.concat([first, first.assign(known_time=later, **change), first.assign(event_id="b", customer_id="other")])
    data = build(rows, [cutoff])
    assert data.labels is not None
    assert data.customer_id.tolist() == ["anonymous", "other"]
    assert np.isnan([data.labels.churn[0], data.labels.purchases[0], data.labels.spend[0]]).all()
    assert data.labels.churn[1].tolist() == [1.0, 1.0]
    labelled = build_shard(table(rows), replace(request([cutoff], Question()), only_with_outcome=True))
    assert labelled.customer_id.to_pylist() == ["other"]


def test_an_event_at_the_cutoff_itself_is_a_label_and_not_a_feature() -> None:
    rows = revisions(1, unusual=0.0).head(1)
    cutoff = CUTOFFS[0]
    first = rows.assign(
        event_time=pd.Timestamp(cutoff - timedelta(days=3)), known_time=pd.Timestamp(cutoff), event_id="a"
    )
    at = rows.assign(event_time=pd.Timestamp(cutoff), known_time=pd.Timestamp(cutoff + timedelta(days=1)), event_id="b")
    data = build(pd.concat([first, at]), [cutoff])
    assert data.aggregates["events_total"].tolist() == [1.0]
    assert data.labels.churn[0].tolist() == [0.0, 0.0]


def test_histories_are_shared_and_only_examples_with_late_events_have_their_own() -> None:
    usual = build(revisions(3, unusual=0.0)).sequences
    assert len(usual.offsets) - 1 == len(np.unique(usual.history)) <= 12
    unusual = build(revisions(3, unusual=0.3)).sequences
    assert 12 < len(unusual.offsets) - 1 < len(unusual.history) + 12


def test_two_builds_give_the_same_bits() -> None:
    first, second = build(revisions(7)), build(revisions(7).sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(first.aggregates, second.aggregates, check_exact=True)
    np.testing.assert_array_equal(first.sequences.event_time, second.sequences.event_time)
    np.testing.assert_array_equal(first.labels.spend, second.labels.spend)


def test_shards_change_no_bit() -> None:
    rows, made = table(revisions(5)), request(CUTOFFS, QUESTION)
    customers = sorted(set(rows["customer_id"].to_pylist()))
    whole = build(revisions(5))
    bounds = [customers[:3], customers[3:4], customers[4:9], customers[9:]]
    shards = [build_shard(rows.filter(pc.is_in(rows["customer_id"], pa.array(ids))), made) for ids in bounds]
    parts = together(shards, QUESTION.horizons)
    assert len(parts.sequences.offsets) == len(whole.sequences.offsets)
    assert bits(replace(parts, sequences=whole.sequences)) == bits(whole)
    assert [_visible_steps(parts, row) for row in range(len(parts))] == [
        _visible_steps(whole, row) for row in range(len(whole))
    ]


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_examples_and_labels_equal_the_relational_reading(name: str, seed: int) -> None:
    question, rows = QUESTIONS[name], revisions(seed)
    if seed == 2:  # some are mailed
        mailed = np.random.default_rng(seed).random(len(rows)) < 0.3
        rows = rows.assign(event_type=rows["event_type"].mask(mailed, "campaign"))
    data, read = build(rows, question=question), examples_and_labels(rows, CUTOFFS, question, END)
    assert data.labels is not None
    assert data.customer_id.tolist() == read["customer_id"].tolist()
    assert data.cutoff.tolist() == [microseconds(cutoff) for cutoff in read["cutoff"]]
    for kind in ("churn", "purchases", "spend"):
        columns = read[[f"{kind}_{days}" for days in question.horizons]].to_numpy(float)
        np.testing.assert_array_equal(getattr(data.labels, kind), columns)
    if question.next_event:
        np.testing.assert_array_equal(data.labels.next_event_days, read["next_event_days"].to_numpy(float))
        types = read["next_event_type"].astype(object).where(read["next_event_type"].notna(), None)
        assert data.labels.next_event_type.tolist() == types.tolist()


@given(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9).map(lambda units: units / 1e4 + 5e-5))
@settings(max_examples=50, deadline=None)
def test_money_is_rounded_as_the_engine_rounds_it(value: float) -> None:
    [(rounded,)] = duckdb.execute("select (?::double::decimal(18, 4))::double", [value]).fetchall()
    assert money_units(np.array([value])).tolist() == [round(rounded * 10_000)]


@pytest.mark.parametrize("name", QUESTIONS)
def test_shared_histories_give_what_an_example_of_its_own_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way against the plain one: every example as if a late event had set it apart."""
    question, rows = QUESTIONS[name], revisions(6)
    fast = build(rows, question=question)

    def everybody(self: Revisions, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.customers)
        return np.tile(np.arange(count), len(moments)), np.repeat(np.arange(len(moments)), count)

    monkeypatch.setattr(Revisions, "contradicted", everybody)
    assert bits(build(rows, question=question)) == bits(fast)


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_labels_have_one_clock(name: str, seed: int) -> None:
    """Labels as known at an earlier moment are those of a build as of that moment."""
    question, rows = QUESTIONS[name], revisions(seed)
    moments = [START + timedelta(days=days) for days in (100, 130, 175)]
    known_at = np.array([microseconds(moment) for moment in moments])
    shard = build_shard(table(rows), replace(request(CUTOFFS, question), label_moments=known_at))
    data = together([shard], question.horizons)
    changed = 0
    for moment in moments:
        then = data.known_at(microseconds(moment), question.gap)
        cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < moment]
        alone = build_one(rows, cutoffs, question, moment=moment)
        place = {pair: row for row, pair in enumerate(zip(alone.customer_id, alone.cutoff, strict=True))}
        pairs = list(zip(data.customer_id, data.cutoff, strict=True))
        shared = [row for row, pair in enumerate(pairs) if pair in place]
        assert len(shared) == len(alone)
        theirs = alone.labels.select(np.array([place[pairs[row]] for row in shared]))
        assert not then.labels.select(np.array(shared)).differs(theirs).any()
        late = data.labels.known_by(data.cutoff, question.gap, question.horizons, microseconds(moment))
        changed += int(then.labels.differs(late).sum())
    assert changed > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_who_ended_within_the_gap_the_others_are_what_they_were(seed: int) -> None:
    question, rows = QUESTIONS["an end"], revisions(seed, customers=60, events=900)
    asked = request(CUTOFFS, question)
    data, fewer = (
        together([build_shard(table(rows), replace(asked, only_with_outcome=only))], question.horizons)
        for only in (False, True)
    )
    assert data.labels is not None
    there = data.select(np.isfinite(data.labels.churn[:, 0]))
    assert 0 < len(there) < len(data)
    assert fewer.customer_id.tolist() == there.customer_id.tolist()
    for example in range(len(there)):
        np.testing.assert_array_equal(seen_by(fewer, example), seen_by(there, example))


def test_a_treatment_is_neither_activity_nor_coming_back() -> None:
    rows = revisions(1, unusual=0.0).head(3)
    cutoff = CUTOFFS[0]
    times = [cutoff - timedelta(days=3), cutoff - timedelta(days=2), cutoff + timedelta(days=1)]
    mailed = rows.assign(
        event_time=[pd.Timestamp(time) for time in times],
        known_time=[pd.Timestamp(time).ceil("D") for time in times],
        event_type=["purchase", "campaign", "campaign"],
        customer_id=["a", "b", "a"],
    )
    data = build(mailed, [cutoff])
    assert data.customer_id.tolist() == ["a"]
    assert data.labels.churn[0].tolist() == [1.0, 1.0]
    counted = build(mailed, [cutoff], QUESTION.model_copy(update={"treatments": ()}))
    assert counted.customer_id.tolist() == ["a", "b"]
    assert counted.labels.churn.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def seen_by(data: Dataset, example: int) -> np.ndarray:
    """The times of the steps that an example sees."""
    sequences = data.sequences
    first = sequences.offsets[sequences.history[example]]
    return sequences.event_time[first : first + sequences.length[example]]


def bits(data: Dataset) -> list[object]:
    """Everything about a dataset, floats as their bytes."""
    assert data.labels is not None
    steps, labels = data.sequences, data.labels
    arrays = [data.cutoff, steps.offsets, steps.event_time, steps.history, steps.length]
    arrays += [*steps.numeric.values(), labels.churn, labels.purchases, labels.spend]
    further = [
        None if kind is None else kind.tolist().__repr__() for kind in (labels.next_event_days, labels.next_event_type)
    ]
    codes = [(codes.tolist(), values) for codes, values in steps.categorical.values()]
    columns = [(name, column.to_numpy().tobytes()) for name, column in data.aggregates.items()]
    return [data.customer_id.tolist(), *(array.tobytes() for array in arrays), *further, codes, columns]


@pytest.mark.parametrize("rows", [revisions(3).head(0), revisions(3).assign(known_time=pd.Timestamp(END))])
def test_where_nothing_was_known_nobody_is_asked(rows: pd.DataFrame) -> None:
    data = build(rows)
    assert len(data) == 0
    assert list(data.aggregates.columns) == list(definitions(QUESTION.spec(ATTRIBUTES, FREQUENT)))


def test_every_aggregate_has_a_definition_in_words() -> None:
    data = build(revisions(2))
    assert list(data.aggregates.columns) == list(definitions(QUESTION.spec(ATTRIBUTES, FREQUENT)))


def test_select_keeps_rows_aligned() -> None:
    data = build(revisions(4))
    rows = np.flatnonzero(data.cutoff == data.cutoff[-1])
    part = data.select(rows)
    assert part.customer_id.tolist() == data.customer_id[rows].tolist()
    assert part.aggregates["events_total"].tolist() == data.aggregates["events_total"].iloc[rows].tolist()
    assert part.sequences.last_step.tolist() == data.sequences.last_step[rows].tolist()
    by_mask = data.select(data.cutoff == data.cutoff[-1])
    assert by_mask.customer_id.tolist() == part.customer_id.tolist()
    pd.testing.assert_frame_equal(by_mask.aggregates, part.aggregates)
