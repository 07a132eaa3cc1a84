"""Reasons quote the customer's own figures, say nothing untrue, and name only what raises the risk."""

import math

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset, Sequences
from models.explanation.reasons import figures, in_words, reasons

ROW = {
    "days_since_last_event": 23.4,
    "days_since_first_event": 300.0,
    "gap_mean": 6.0,
    "events_28": 2.0,
    "events_56": 11.0,
    "amount_28": 40.0,
    "amount_56": 250.0,
    "quantity_28": 3.0,
    "quantity_91": 30.0,
    "spend_deli_28": 0.0,
    "spend_deli_91": 12.0,
    "days_since_spend_deli": 45.0,
    "distinct_store_91": 2.0,
}


@pytest.mark.parametrize(
    ("group", "changes", "words"),
    [
        ("last_event", {}, "no event for 23 days, usually every 6"),
        ("last_event", {"gap_mean": 0.5}, "no event for 23 days, usually every 0.5"),
        ("last_event", {"gap_mean": 40.0}, "no event for 23 days"),
        ("last_event", {"gap_mean": math.nan}, "no event for 23 days"),
        ("last_event", {"days_since_last_event": 1.2, "gap_mean": math.nan}, "no event for 1 day"),
        ("last_event", {"days_since_last_event": 0.5}, None),
        ("events", {}, "events fell from 9 to 2 in four weeks"),
        ("events", {"events_28": 1.0, "events_56": 1.0}, "1 event in four weeks"),
        ("events", {"events_28": 0.0, "events_56": 0.0}, None),
        ("amount", {}, "spend fell from 210 to 40 in four weeks"),
        ("amount", {"amount_28": 1234.5, "amount_56": 1300.0}, "spend of 1,234 in four weeks"),
        ("amount", {"amount_28": 40.0, "amount_56": 80.01}, "spend of 40 in four weeks"),
        ("quantity", {}, "quantity fell to 3 in four weeks, from 12 in an average four before"),
        ("quantity", {"days_since_first_event": 50.0}, "quantity of 3 in four weeks"),
        ("spend_deli", {}, "no deli for 6 weeks"),
        ("spend_deli", {"days_since_spend_deli": 20.0, "days_since_last_event": 5.0}, "no deli for 20 days"),
        ("spend_deli", {"days_since_spend_deli": math.nan}, "never any deli"),
        (
            "spend_deli",
            {"days_since_spend_deli": 23.4},
            "deli fell to 0 in four weeks, from 5.3 in an average four before",
        ),
        ("spend_deli", {"days_since_spend_deli": 23.4, "spend_deli_91": 0.0}, None),
        ("store", {}, "store: 2 different in 13 weeks"),
        ("store", {"distinct_store_91": 1.0}, "one store only in 13 weeks"),
        ("store", {"distinct_store_91": 0.0}, None),
        ("store", {"distinct_store_91": math.nan}, None),
        ("first_event", {}, "first event 42 weeks ago"),
        ("first_event", {"days_since_first_event": 12.0}, "first event 12 days ago"),
        ("event_type", {}, None),
    ],
)
def test_words(group, changes, words):
    assert in_words(group, {**ROW, **changes}) == words


def test_only_what_raises_the_risk_the_strongest_first():
    contributions = pd.DataFrame(
        [
            {"last_event": 0.5, "events": -0.4, "amount": 0.9, "spend_deli": 0.2, "store": 0.1, "event_type": 2.0},
            {"last_event": -0.5, "events": 0.04, "amount": 0.0, "spend_deli": -1.0, "store": -0.1, "event_type": 0.0},
        ]
    )
    told = reasons(contributions, pd.DataFrame([ROW, ROW]))
    assert told[0] == [
        "spend fell from 210 to 40 in four weeks",
        "no event for 23 days, usually every 6",
        "no deli for 6 weeks",
    ]
    assert told[1] == []
    assert reasons(contributions, pd.DataFrame([ROW, ROW]), top=1)[0] == told[0][:1]


@pytest.mark.parametrize(
    ("contributions", "changes", "told"),
    [
        (
            {"events": 0.5, "amount": 0.4, "spend_deli": 0.2, "first_event": 0.6},
            {"gap_before": math.nan, "gap_lately": math.nan}
            | {"events_28": 0.0, "amount_28": 0.0, "days_since_last_event": 28.3, "days_since_spend_deli": 29.0},
            ["no event for 28 days, usually every 6", "first event 42 weeks ago"],
        ),
        (
            {"amount": 0.3, "quantity": 0.4, "spend_deli": 0.2, "spend_fish": 0.3, "last_event": 0.5},
            {"spend_fish_28": 2.0, "spend_fish_91": 40.0, "days_since_spend_fish": 23.4},
            [
                "quantity fell to 3 in four weeks, from 12 in an average four before",
                "no event for 23 days, usually every 6",
                "no deli for 6 weeks",
            ],
        ),
        (
            {"event_type=login": 0.3, "event_type=ticket": 0.2},
            {"event_type=login_28": 1.0, "event_type=login_91": 30.0}
            | {"event_type=ticket_28": 2.0, "event_type=ticket_91": 2.0},
            ["login fell to 1 in four weeks, from 13 in an average four before", "ticket of 2 in four weeks"],
        ),
        (
            {"shop=a_b": 0.3, "shop=c": 0.2},
            {"shop=a_b_28": 1.0, "shop=a_b_91": 30.0, "days_since_shop=a_b": 5.0}
            | {"shop=c_28": 0.0, "shop=c_91": 0.0, "days_since_shop=c": math.nan},
            [
                "events with shop a_b fell to 1 in four weeks, from 13 in an average four before",
                "never any events with shop c",
            ],
        ),
        ({"spend_deli": 0.3, "spend_fish": 0.2}, {"days_since_spend_fish": math.nan}, ["no deli for 6 weeks"]),
    ],
)
def test_what_tells_the_same_is_told_once(contributions, changes, told):
    assert reasons(pd.DataFrame([contributions]), pd.DataFrame([ROW | changes])) == [told]


def test_rows_must_match():
    with pytest.raises(ValueError, match="1 contributions do not match 2 rows"):
        reasons(pd.DataFrame([{"amount": 1.0}]), pd.DataFrame([ROW, ROW]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gap_before": 5.2, "gap_lately": 19.0}, "gaps between events grew from 5.2 to 19 days"),
        ({"gap_before": 0.5, "gap_lately": 1.0}, "gaps between events grew from 0.5 to 1 day"),
        ({"gap_before": 14.0, "gap_lately": 19.0}, "events fell from 9 to 2 in four weeks"),
        ({"gap_before": math.nan, "gap_lately": math.nan}, "events fell from 9 to 2 in four weeks"),
    ],
)
def test_gaps_that_grew_are_told_first(changes, words):
    assert in_words("events", {**ROW, **changes}) == words


def test_gaps_are_those_of_the_last_events_that_the_example_sees():
    day = 86_400_000_000
    times = np.cumsum([0, 100, *[2] * 10, *[6] * 10, 50]) * day
    sequences = Sequences(np.array([0, len(times)]), times, {}, {}, np.array([0, 0]), np.array([22, 6]))
    data = Dataset((28,), np.array(["a", "a"]), times[[-1, -1]], pd.DataFrame(index=range(2)), sequences, None)
    told = figures(data)
    assert told["gap_before"].to_list() == pytest.approx([2.0, math.nan], nan_ok=True)
    assert told["gap_lately"].to_list() == pytest.approx([6.0, math.nan], nan_ok=True)
