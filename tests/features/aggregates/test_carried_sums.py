"""Carried sums, moved from night to night, give the aggregates that are built from the whole past."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.aggregates.carried_sums import CarriedSums
from features.question import Question
from features.sequences.histories import positions, starts_of_runs
from features.time import NEVER, day_number
from tests.support.worlds.event_worlds import ATTRIBUTES, FREQUENT, START, build, revisions

QUESTION = Question(active_within=40)
SPEC = QUESTION.spec(ATTRIBUTES, FREQUENT)


@pytest.mark.parametrize("seed", [1, 2])
def test_nights_add_up_to_the_whole_past(seed: int) -> None:
    events = revisions(seed, customers=8, events=400, unusual=0)
    customers = pa.array(sorted(events["customer_id"].unique()))
    carried, last, read = None, pd.Series(dtype="datetime64[ns, UTC]"), pd.Timestamp(START)
    for days in (60, 61, 62, 90, 150, 151, 199):
        cutoff = START + timedelta(days=days)
        until = pd.Timestamp(cutoff)
        rows = events[(events["event_time"] < until) & (events["event_time"] >= read)]
        more, read = sums(rows, last, customers), until
        carried = (more if carried is None else carried.with_more(more)).folded(day_number(cutoff))
        last = (
            events[events["event_time"] < until]
            .groupby("customer_id")["event_time"]
            .max()
            .astype("datetime64[ns, UTC]")
        )
        who, found = carried.aggregates(day_number(cutoff), SPEC)
        data = build(events, [cutoff], QUESTION, labelled=False)
        assert customers.take(who).to_pylist() == data.customer_id.tolist()
        pd.testing.assert_frame_equal(found, data.aggregates, check_exact=True)
    assert carried is not None
    assert len(carried.days["day"]) < len(events)


def sums(rows: pd.DataFrame, last: "pd.Series[pd.Timestamp]", customers: pa.Array) -> CarriedSums:
    events = rows.sort_values(["customer_id", "event_time", "event_id"]).astype(object)
    texts, numbers = ("customer_id", "event_type", "store"), ("amount", "quantity", "items")
    fields = [(name, pa.string()) for name in texts] + [(name, pa.float64()) for name in numbers]
    schema = pa.schema([*fields, ("event_time", pa.timestamp("us", "UTC"))])
    steps = pa.Table.from_pandas(events[schema.names], schema, preserve_index=False)
    starts = starts_of_runs(steps, "customer_id")
    who = steps["customer_id"].combine_chunks().take(pa.array(starts))
    previous = [last[customer].value // 1000 if customer in last.index else NEVER for customer in who.to_pylist()]
    return CarriedSums.of(steps, starts, positions(who, customers), SPEC, np.array(previous, np.int64))


def test_customers_can_be_left_out_and_let_in() -> None:
    events = revisions(3, customers=6, events=100, unusual=0)
    customers, cutoff = pa.array(sorted(events["customer_id"].unique())), START + timedelta(days=150)
    carried = sums(events, pd.Series(dtype="datetime64[ns, UTC]"), customers)
    moved = carried.moved(np.array([1, -1, 2, 4, 5, 6]))
    assert set(moved.days["customer"]) == {1, 2, 4, 5, 6}
    who, found = carried.aggregates(day_number(cutoff), SPEC)
    who_moved, found_moved = moved.aggregates(day_number(cutoff), SPEC)
    kept = who != 1
    np.testing.assert_array_equal(who_moved, np.array([1, -1, 2, 4, 5, 6])[who[kept]])
    pd.testing.assert_frame_equal(found_moved, found[kept].reset_index(drop=True), check_exact=True)


def test_a_night_ends_at_midnight() -> None:
    with pytest.raises(ValueError, match="no midnight"):
        day_number(START + timedelta(hours=3))
