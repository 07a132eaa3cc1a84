"""A night held against the weeks before it: each night rule breaks where it should, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.config.sections import Validation
from pipeline.config.settings import load_settings
from pipeline.runtime.errors import RecurError
from pipeline.validation.night_rules import night_rules
from tests.support.worlds.csv_nights import configure, ingest, write_csv

HEADER = "who,when,what,eur"
COLUMNS = {"customer_id": "who", "event_time": "when", "event_type": "what", "amount": "eur"}
HISTORY = [
    f"c{place},2020-01-{day:02d} {place % 24:02d}:00,{'visit' if place % 3 else 'purchase'},5"
    for day in range(1, 32)
    for place in range(30)
]


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """A month of 30 events a day, loaded; a copy of it, to be put back at its place."""
    place = tmp_path_factory.mktemp("month")
    (place / "night").mkdir()
    settings = configure(place / "night", [*HISTORY, "z,2020-02-01,visit,1"], HEADER, columns=COLUMNS)
    ingest(settings, "2020-02-01")
    return Path(shutil.copytree(place / "night", place / "copy"))


def judge(month, rows, cutoff="2020-02-02", closing="z,2020-03-30,visit,1"):
    """The figures whose rules `rows` break in the night after the month, and the message (None: not refused)."""
    folder = month.with_name("night")  # the same place every time: a source elsewhere is another source
    shutil.rmtree(folder)
    shutil.copytree(month, folder)
    write_csv(folder, [*HISTORY, *rows, closing], HEADER)
    settings = load_settings(folder / "recur.toml")
    message = None
    try:
        ingest(settings, cutoff)
    except RecurError as error:
        message = str(error)
    [result] = (settings.state.data_docs / "uncommitted" / "validations").rglob(f"{cutoff}/**/*.json")
    results = json.loads(result.read_text("utf-8"))["results"]
    return {one["expectation_config"]["kwargs"]["column"] for one in results if not one["success"]}, message


def test_a_night_like_the_others_breaks_no_rule(month):
    rows = [f"d{place},2020-02-01 {place % 24:02d}:00,{'visit' if place % 3 else 'purchase'},6" for place in range(30)]
    assert judge(month, [*rows, rows[0]]) == (set(), None)


def test_a_night_that_is_new_in_every_way(month):
    twice = [f"c{place},2020-02-01 10:00,refund," for place in range(20)] * 2
    to_come = [f"c{place},2099-02-01 10:00,refund," for place in range(5)]
    broken, message = judge(month, twice + to_come)
    assert broken == {
        "quarantined_share",
        "event_time_share",
        "future_share",
        "repeated_share",
        "mix_drift",
        "amount_absent_rise",
    }
    assert "event_time_in_future" in message


def test_a_source_delivered_twice_is_refused(month):
    broken, message = judge(month, [row.replace("2020-01-31", "2020-02-01") for row in HISTORY[-30:]] * 2)
    assert broken == {"repeated_share"}
    assert "share of rows that repeat another row: 50.0%, at most 20.0%" in message
    assert "delivered twice" in message


def test_three_weeks_of_silence_are_refused(month):
    broken, message = judge(month, [], "2020-02-15")
    assert broken == {"silent_days"}
    assert "14.0" in message
    assert "validation.max_silent_days" in message


def test_every_limit_is_a_setting():
    profile = {
        "rows_read": 1000,
        "events_accepted": 1000,
        "baseline_a_day": 100,
        **dict.fromkeys(("usual", "usual_low", "usual_high"), 1000),
        **dict.fromkeys(("longest_silence", "busiest_day", "late"), 0),
        "mix_noise": 0.0,
        "amount_absent_rise": 0,
    }
    before = {rule.figure: rule.maximum for rule in night_rules(profile, [], Validation(), is_history=False)}
    changed = {"future": 0.02, "repeated": 0.3, "quarantined": 0.1}
    limits = Validation(
        **{f"max_{name}_share": value for name, value in changed.items()},
        max_silent_days=20,
        max_mix_drift=0.6,
        max_absent_rise=0.7,
        max_volume_share=6,
    )
    after = {rule.figure: rule.maximum for rule in night_rules(profile, [], limits, is_history=False)}
    moved = {figure for figure in after if after[figure] != before[figure]}
    assert moved == {
        "future_share",
        "repeated_share",
        "quarantined_share",
        "silent_days",
        "mix_drift",
        "amount_absent_rise",
        "volume_share",
    }
