"""Validation: rows split by the row rules with a reason, nights refused by the night rules, and what is left behind."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.config.source import Source
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.engine import session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.steps.extract import extract
from pipeline.steps.validate import validate
from pipeline.validation.parsing import StagedNight, events, judged
from pipeline.validation.rules import CONFLICT, row_rules
from tests.support.worlds.csv_nights import configure, day, ingest, night_of, write_csv

HEADER = "id,who,when,what,eur,pieces,size"
COLUMNS = {
    "event_id": "id",
    "customer_id": "who",
    "event_time": "when",
    "event_type": "what",
    "amount": "eur",
    "quantity": "pieces",
    "size": "size",
}
GOOD = "{0},c{0},2020-01-01 10:00:00,purchase,5.5,2,1"


def split(tmp_path, rows, header=HEADER, columns=COLUMNS, cutoff="2020-01-02"):
    """The accepted events and the quarantine of the history that ends at `cutoff`, with 500 good rows added."""
    filler = [GOOD.format(f"g{place}") for place in range(500)] if header == HEADER else []
    end = "last,z,2020-02-01,purchase,1,1,1" if header == HEADER else None
    settings = configure(tmp_path, [*filler, *rows, *([end] if end else [])], header, columns=columns)
    night = Night(None, day(cutoff))
    extract(settings, night)
    validate(settings, night)
    accepted, aside = (
        pd.read_parquet(settings.state.accepted(night)),
        pd.read_parquet(settings.state.quarantine(night)),
    )
    return accepted[~accepted.event_id.str.startswith("g")], aside


BAD = {
    "1,,2020-01-01,purchase,5,1,1": "customer_id_missing",
    '2,"  ",2020-01-01,purchase,5,1,1': "customer_id_missing",
    "3,a,,purchase,5,1,1": "event_time_missing",
    "4,a,yesterday,purchase,5,1,1": "event_time_unreadable",
    "5,a,2020-13-01,purchase,5,1,1": "event_time_unreadable",
    "6,a,1969-12-31 23:59:59,purchase,5,1,1": "event_time_before_1970",
    "7,a,1970-01-01,purchase,5,1,1": "event_time_of_empty_clock",
    "8,a,2099-01-01,purchase,5,1,1": "event_time_in_future",
    "9,a,2020-01-01,,5,1,1": "event_type_missing",
    ",a,2020-01-01,purchase,5,1,1": "event_id_missing",
    "11,a,2020-01-01,purchase,five,1,1": "amount_unreadable",
    "12,a,2020-01-01,purchase,nan,1,1": "amount_not_finite",
    "13,a,2020-01-01,purchase,-inf,1,1": "amount_not_finite",
    "14,a,2020-01-01,purchase,1e400,1,1": "amount_not_finite",
    "15,a,2020-01-01,purchase,1000000001,1,1": "amount_absurd",
    "16,a,2020-01-01,purchase,5,some,1": "quantity_unreadable",
    "17,a,2020-01-01,purchase,5,-2e9,1": "quantity_absurd",
    "18,a,2020-01-01,purchase,5,1,large": "size_unreadable",
    "19,a,2020-01-01,purchase,5,1,1,and more": "unreadable",
    "20,a,2020-01-01": "unreadable",
}


def test_bad_rows_are_set_aside_each_with_its_reason(tmp_path):
    accepted, aside = split(tmp_path, list(BAD))
    assert accepted.empty
    assert aside.reason.tolist() == list(BAD.values())
    assert set(aside.night) == {"2020-01-02"}
    kept = [json.loads(row) for row in aside["row"]]
    assert [row["unreadable"] for row in kept[-2:]] == list(BAD)[-2:]
    assert [row["event_id"] for row in kept[:3]] == ["1", "2", "3"]
    assert kept[10]["amount"] == "five"


def test_what_real_data_hold_is_accepted(tmp_path):
    rows = [
        "1,a,2020-01-01,purchase,0,1,1",
        "2,a,2020-01-01,purchase,-12.5,-1,1",
        "3,a,2020-01-01,fuel,30,15800,1",
        "4,a,2020-01-01 23:59:59.999999,purchase,1000000000,1,1",
    ]
    accepted, aside = split(tmp_path, rows)
    assert accepted.amount.tolist() == [0, -12.5, 30, 1e9]
    assert accepted.quantity.tolist() == [1, -1, 15800, 1]
    assert aside.empty


def test_absent_numbers_are_null_and_not_bad(tmp_path):
    accepted, aside = split(tmp_path, ["1,a,2020-01-01,visit,,,"])
    assert accepted[["amount", "quantity", "size"]].isna().all(axis=None)
    assert aside.empty


def test_events_have_the_columns_and_types_of_the_contract(tmp_path):
    accepted, _ = split(tmp_path, ["1, a ,2020-01-01 10:00,purchase,5,1,1"])
    event = accepted.iloc[0]
    assert event.customer_id == "a"
    assert event.event_time == pd.Timestamp("2020-01-01 10:00", tz="UTC")
    assert event.known_time == pd.Timestamp("2020-01-02", tz="UTC")
    assert not event.deleted


def test_rows_of_one_id_that_differ_are_set_aside_and_repeats_are_not(tmp_path):
    rows = [
        "1,a,2020-01-01,purchase,5,1,1",
        "1,a,2020-01-01,purchase,6,1,1",
        "2,b,2020-01-01,purchase,5,1,1",
        "2,b,2020-01-01,purchase,5,1,1",
        "3,c,2020-01-01,purchase,5,1,1",
        "3,c,2020-01-01,purchase,five,1,1",
    ]
    accepted, aside = split(tmp_path, rows)
    assert accepted.event_id.tolist() == ["2", "2", "3"]
    assert aside.reason.tolist() == [CONFLICT.code, CONFLICT.code, "amount_unreadable"]


def test_ids_are_made_from_the_content_of_a_row(tmp_path):
    rows = ["a,2020-01-01,5", "a,2020-01-01,5", "a,2020-01-01,6", "a,2020-01-01,", "z,2020-02-01,1"]
    columns = {"customer_id": "who", "event_time": "when", "amount": "eur"}
    first, _ = split(tmp_path, rows, "who,when,eur", columns)
    again, _ = split(tmp_path, [*rows[2:4], *rows[:2], rows[4]], "who,when,eur", columns)
    assert first.event_id.is_unique
    assert sorted(first.event_id) == sorted(again.event_id)
    assert sorted(identity[33:] for identity in first.event_id) == ["1", "1", "1", "2"]


texts = st.one_of(
    st.none(), st.text(max_size=12), st.sampled_from(["1", "-0", "1e999", "nan", "2020-01-01", "9999-12-31"])
)


@hypothesis_settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(*[texts] * len(COLUMNS)), min_size=1, max_size=8))
def test_every_row_is_either_an_event_or_set_aside(rows):
    attributes, night = {"size": "numeric"}, Night(None, day("2020-01-02"))
    with session() as connection:
        columns = ", ".join(f"{name} varchar" for name in COLUMNS)
        connection.execute(f"create table staged (row bigint, unreadable varchar, {columns})")
        marks = ", ".join("?" * (len(COLUMNS) + 2))
        connection.executemany(f"insert into staged values ({marks})", [(i, None, *row) for i, row in enumerate(rows)])
        rules = row_rules(COLUMNS, attributes)
        staged = StagedNight("staged", COLUMNS, attributes, night, Source(columns=COLUMNS))
        connection.execute(f"create table judged as {judged(staged, rules)}")
        reasons = connection.execute("select reason from judged").fetchall()
        assert len(reasons) == len(rows)
        assert {reason for (reason,) in reasons if reason} <= {rule.code for rule in [*rules, CONFLICT]}
        accepted = events("judged", attributes, Source(columns=COLUMNS))
        bad = f"""
            select count(*) from ({accepted}) where customer_id is null or event_id is null or event_type is null
                or event_time is null or event_time < timestamptz '1970-02-01 00:00:00+00'
                or event_time >= timestamptz '2020-01-02 00:00:00+00' or not isfinite(coalesce(amount, 0))
        """
        assert connection.execute(bad).fetchone() == (0,)


def nights(tmp_path, last_rows, a_day=30):
    """A month of `a_day` events a day, then `last_rows` on 2020-02-01, then a later event that closes that day."""
    rows = [f"c{place},2020-01-{on:02d} 10:00:00,5" for on in range(1, 32) for place in range(a_day)]
    settings = configure(tmp_path, [*rows, *last_rows, "z,2020-02-02,1"])
    ingest(settings, "2020-02-01")
    return settings


def refusal(settings, cutoff="2020-02-02"):
    with pytest.raises(RecurError) as caught:
        ingest(settings, cutoff)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_refused_night_leaves_the_store_as_it_was_and_says_what_to_do(tmp_path):
    good, bad = [f"c{place},2020-02-01,5" for place in range(20)], [f",2020-02-01 0{place}:00,5" for place in range(5)]
    settings = nights(tmp_path, [*good, *bad])
    before = {file: file.read_bytes() for file in settings.events.iterdir()}
    message = refusal(settings)
    assert "the night 2020-02-02 is refused" in message
    assert "5 of 25 rows (20.0%) were set aside, at most 8.0% may be" in message
    assert "(customer_id_missing), as in row " in message
    assert "recur quarantine list" in message
    assert settings.state.data_docs_page.as_uri() in message
    assert {file: file.read_bytes() for file in settings.events.iterdir()} == before
    assert not settings.state.accepted(night_of(settings, "2020-02-02")).exists()
    assert len(pd.read_parquet(settings.state.quarantine(night_of(settings, "2020-02-02")))) == 5
    write_csv(tmp_path, [*good, "z,2020-02-02,1"])
    assert ingest(settings, "2020-02-02")["rows_accepted"] == 20


def test_two_bad_rows_never_refuse_a_night(tmp_path):
    settings = nights(tmp_path, [",2020-02-01,5", ",2020-02-01,6", *[f"c{place},2020-02-01,5" for place in range(10)]])
    assert ingest(settings, "2020-02-02")["rows_quarantined"] == 2


@pytest.mark.parametrize(("events", "share"), [(5, "16.7%"), (200, "666.7%")])
def test_an_unusual_volume_is_refused(tmp_path, events, share):
    message = refusal(nights(tmp_path, [f"c{place},2020-02-01,5" for place in range(events)]))
    assert f"{events} events are {share} of the usual 30 of a Saturday, expected from 20% to 500%" in message
    assert "min_volume_share" in message


def test_a_day_on_which_nothing_happened_passes(tmp_path):
    assert ingest(nights(tmp_path, []), "2020-02-02")["rows_read"] == 0


def test_what_chance_makes_of_few_events_passes(tmp_path):
    assert ingest(nights(tmp_path, ["a,2020-02-01,5"], a_day=5), "2020-02-02")["rows_accepted"] == 1


@pytest.mark.parametrize("events", [1, 120])
def test_seventeen_events_a_day_are_enough_to_see_what_chance_does_not_make(tmp_path, events):
    message = refusal(nights(tmp_path, [f"c{place},2020-02-01,5" for place in range(events)], a_day=17))
    assert f"{events} events are" in message
    assert "of the usual 17 of a Saturday" in message


def test_a_weekday_is_held_against_its_like(tmp_path):
    """Three events on a Saturday of a shop that has a hundred on other days, and as few on its Saturdays."""
    saturdays = ("2020-01-04", "2020-01-11", "2020-01-18", "2020-01-25")
    rows = [
        f"c{place},2020-01-{on:02d},5"
        for on in range(1, 32)
        for place in range(3 if f"2020-01-{on:02d}" in saturdays else 100)
    ]
    settings = configure(tmp_path, [*rows, *[f"c{place},2020-02-01,5" for place in range(3)], "z,2020-02-02,1"])
    ingest(settings, "2020-02-01")
    assert ingest(settings, "2020-02-02")["rows_accepted"] == 3


def test_a_silence_no_longer_than_twice_an_earlier_one_passes(tmp_path):
    open_days = [f"2019-{month:02d}-{on:02d}" for month in (1, 2, 5, 6) for on in range(1, 29)]
    rows = [f"c{place},{on},5" for on in open_days for place in range(30)]
    settings = configure(tmp_path, [*rows, "a,2019-08-20,5", "z,2019-08-25,1"])
    ingest(settings, "2019-06-29")
    assert ingest(settings, "2019-07-20")["rows_read"] == 0


def test_an_example_shows_the_value_and_no_customer(tmp_path):
    bad = [f"Wilhelmina,2020-02-01,much{place}" for place in range(5)]
    message = refusal(nights(tmp_path, [*bad, *[f"c{place},2020-02-01,5" for place in range(20)]]))
    assert "(amount_unreadable), as in row 931, 'much0'" in message
    assert "Wilhelmina" not in message


def test_a_history_without_one_good_event_is_refused(tmp_path):
    settings = configure(tmp_path, [",2020-01-01,5", "z,2020-01-02,1"])
    assert "run.first_night" in refusal(settings, "2020-01-02")
    assert loaded_nights(settings.events) == []


def test_a_night_that_was_not_extracted_is_named(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,5", "z,2020-01-02,1"])
    with pytest.raises(RecurError, match="was not extracted"):
        validate(settings, night_of(settings, "2020-01-02"))


def test_data_docs_show_the_night_and_nothing_of_a_customer(tmp_path):
    settings = configure(tmp_path, ["Wilhelmina,2020-01-01,41.4142", ",2020-01-01,41.4142", "z,2020-01-02,1"])
    ingest(settings, "2020-01-02")
    assert "2020-01-02" in settings.state.data_docs_page.read_text("utf-8")
    written = [file.read_bytes() for file in settings.state.data_docs.rglob("*") if file.is_file()]
    assert not any(b"Wilhelmina" in content or b"41.4142" in content for content in written)
    pages = list((settings.state.data_docs_page.parent / "validations").rglob("*.html"))
    assert len(pages) == 1
    assert "share of rows where no customer is named" in pages[0].read_text("utf-8")


def test_data_docs_keep_the_last_nights_only(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.validation.expectations.NIGHTS_KEPT", 2)
    cutoffs = ["2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05"]
    settings = configure(tmp_path, [f"a,{cutoff},5" for cutoff in ["2020-01-01", *cutoffs]])
    for cutoff in cutoffs:
        extract(settings, night := night_of(settings, cutoff))
        validate(settings, night)
    names = sorted(folder.name for folder in (settings.state.data_docs_page.parent / "validations" / "night").iterdir())
    assert names == cutoffs[-2:]


def test_what_a_kill_left_half_written_is_written_again(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", "b,2020-01-02,1", "z,2020-01-03,1"])
    ingest(settings, "2020-01-02")
    folder = settings.state.data_docs
    for name in ("great_expectations.yml", "expectations/night.json", "validation_definitions/night.json"):
        (folder / name).write_text('{"half": ')
    ingest(settings, "2020-01-03")
    assert len(list((folder / "uncommitted" / "validations").rglob("*.json"))) == 2
