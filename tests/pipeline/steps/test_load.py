"""Loading: idempotent to the byte, reconciled, and honest about what was known when."""

import pandas as pd
import pytest

from features.question import Question
from pipeline.event_store.erasure import erase
from pipeline.event_store.objects import noted_values
from pipeline.event_store.store import open_store
from pipeline.runtime.described import described
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.steps.load import load
from tests.support.stored import rows_of
from tests.support.worlds.csv_nights import configure, day, ingest, night_of, write_csv

VERSIONED = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur", "known_time": "seen"}
HEADER = "id,who,when,eur,seen"


def as_of(settings, cutoff):
    return rows_of(open_store(settings).as_of(day(cutoff)))


def test_loading_a_night_twice_changes_no_byte(tmp_path):
    settings = configure(tmp_path, ["b,2020-01-01 09:00,1", "a,2020-01-01 08:00,2", ",2020-01-01,3", "z,2020-01-02,1"])
    first = ingest(settings, "2020-01-02")
    content = (settings.events / "2020-01-02.parquet").read_bytes()
    assert ingest(settings, "2020-01-02") == first
    assert first == {"rows_read": 3, "rows_accepted": 2, "rows_quarantined": 1, "rows_already_known": 0}
    assert (settings.events / "2020-01-02.parquet").read_bytes() == content


def test_the_object_that_is_loaded_first_notes_frequent_values(tmp_path):
    """What networks read of every event, aggregates tell apart; of event types, unless the question says which. A value
    of too few events or customers is none.
    """
    types = ["look"] * 7 + ["buy"] * 5 + ["back"] * 150 + ["few"] * 4
    shops = {"look": "", "buy": "a", "back": "b"}
    rows = [
        f"{place},2020-01-0{1 + place % 2} 09:00,1,{kind},{shops.get(kind, 'c')}" for place, kind in enumerate(types)
    ]
    rows += ["one,2020-01-01,1,his own,b"] * 10
    columns = {"customer_id": "who", "event_time": "when", "amount": "eur", "event_type": "what", "shop": "shop"}
    settings = configure(
        tmp_path, [*rows, "a,2020-01-09,1,late,c"], "who,when,eur,what,shop", columns=columns, categorical=["shop"]
    )
    ingest(settings, "2020-01-03")
    store, noted = open_store(settings), {"event_type": ["back", "look", "buy"], "shop": ["b", "a"]}
    assert store.frequent_values == noted
    ingest(settings, "2020-01-04")
    ingest(settings, "2020-01-03")
    assert [noted_values(store.path(night)) for night in store.nights()] == [noted, None]
    (settings.events / "_manifest.json").unlink()  # which is made again from the objects
    assert store.frequent_values == noted
    assert erase(store, settings.state, "0") == 1
    assert store.frequent_values == noted
    shop = {"shop": ("a", "b")}
    assert told_apart(store) == {"event_type": ("back", "buy", "look"), **shop}
    assert told_apart(store, activity=("buy",), exclude_types=("look",)) == {"event_type": ("back", "buy"), **shop}
    assert told_apart(store, event_types=("once",)) == {"event_type": ("once",), **shop}
    assert told_apart(store, exclude_types=("look", "back"), exclude_values={"shop": ("a",)}) == {}


def told_apart(store, **asked):
    return dict(store.spec(Question(**asked)).told_apart)


def test_an_object_is_plain_parquet_in_order(tmp_path):
    rows = ["b,2020-01-01 09:00,1", "a,2020-01-01 08:00,2", "a,2020-01-01 07:00,3", "z,2020-01-02,1"]
    settings = configure(tmp_path, rows)
    ingest(settings, "2020-01-02")
    events = pd.read_parquet(settings.events / "2020-01-02.parquet")
    assert events.customer_id.tolist() == ["a", "a", "b"]
    assert events.amount.tolist() == [3, 2, 1]
    assert str(events.event_time.dtype) == str(events.known_time.dtype) == "datetime64[us, UTC]"


def test_known_times(tmp_path):
    rows = ["a,2020-01-01 08:00,1", "a,2020-01-03 08:00,2", "a,2020-01-04 08:00,3", "z,2020-01-09,1"]
    settings = configure(tmp_path, rows)
    ingest(settings, "2020-01-04")
    ingest(settings, "2020-01-06")
    known = as_of(settings, "2020-01-06").sort_values("event_time").known_time
    assert known.tolist() == [day("2020-01-02"), day("2020-01-04"), day("2020-01-06")]
    assert len(as_of(settings, "2020-01-02")) == 1
    assert len(as_of(settings, "2020-01-05")) == 2


def test_a_night_after_a_failed_one_takes_both_intervals(tmp_path):
    settings = configure(tmp_path, [f"a,2020-01-0{on} 08:00,{on}" for on in range(1, 8)])
    ingest(settings, "2020-01-03")
    assert ingest(settings, "2020-01-06")["rows_accepted"] == 3
    with pytest.raises(NothingToDo, match="loaded as a part of the night 2020-01-06"):
        ingest(settings, "2020-01-04")


def test_a_night_past_the_end_of_the_source_has_nothing_to_extract(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", "a,2020-01-05,1"])
    with pytest.raises(NothingToDo, match="last closed day ends at 2020-01-05"):
        ingest(settings, "2020-01-06")
    assert not settings.events.exists()


def test_a_correction_supersedes_and_a_repeat_is_already_known(tmp_path):
    rows = [
        "1,a,2020-01-01 08:00,5,2020-01-01 09:00",
        "2,b,2020-01-01 08:00,,2020-01-01 09:00",
        "1,a,2020-01-01 08:00,6,2020-01-02 09:00",
        "2,b,2020-01-01 08:00,,2020-01-02 09:00",
        "9,z,2020-01-09,1,2020-01-09",
    ]
    settings = configure(tmp_path, rows, HEADER, columns=VERSIONED)
    ingest(settings, "2020-01-02")
    outcome = ingest(settings, "2020-01-03")
    assert outcome == {"rows_read": 2, "rows_accepted": 1, "rows_quarantined": 0, "rows_already_known": 1}
    events = as_of(settings, "2020-01-03")
    assert events.event_id.tolist() == ["1", "1", "2"]
    assert events.amount.fillna(0).tolist() == [5, 6, 0]
    assert events.superseded_time.isna().tolist() == [False, True, True]
    assert events.superseded_time[0] == pd.Timestamp("2020-01-02 09:00", tz="UTC")
    before = as_of(settings, "2020-01-02")
    assert before.amount.fillna(0).tolist() == [5, 0]
    assert before.superseded_time.isna().all()


def test_versions_within_one_night(tmp_path):
    rows = [f"1,a,2020-01-01 08:00,{eur},2020-01-01 {hour}:00" for eur, hour in ((5, 10), (5, 11), (6, 12), (5, 13))]
    settings = configure(tmp_path, [*rows, rows[0], "9,z,2020-01-09,1,2020-01-09"], HEADER, columns=VERSIONED)
    outcome = ingest(settings, "2020-01-02")
    assert (outcome["rows_accepted"], outcome["rows_already_known"]) == (3, 2)
    assert as_of(settings, "2020-01-02").amount.tolist() == [5, 6, 5]


@pytest.mark.parametrize("same_night", [True, False])
def test_an_older_version_that_comes_late_replaces_nothing(tmp_path, same_night):
    newer = "1,a,2020-01-01 08:00,6,2020-01-02 09:00"
    rest = ["2,b,2020-01-01 08:00,7,2020-01-01 09:00", "9,z,2020-01-09,1,2020-01-09"]
    settings = configure(tmp_path, [*rest, *([] if same_night else [newer])], HEADER, columns=VERSIONED)
    for night in ("2020-01-02", *([] if same_night else ["2020-01-03"])):
        ingest(settings, night)
    older = "1,a,2020-01-01 08:00,5,2020-01-01 09:00"
    write_csv(tmp_path, [older, "2,b,2020-01-01 08:00,8,2020-01-01 10:00", newer, *rest], HEADER)
    last = "2020-01-03" if same_night else "2020-01-04"
    outcome = ingest(settings, last)
    assert (outcome["rows_accepted"], outcome["rows_already_known"]) == (2 if same_night else 1, 1)
    events = as_of(settings, last)
    assert events[events.superseded_time.isna()].amount.tolist() == [6, 8]
    assert events.event_id.tolist() == ["1", "2", "2"]
    content = (settings.events / f"{last}.parquet").read_bytes()
    assert ingest(settings, last) == outcome
    assert (settings.events / f"{last}.parquet").read_bytes() == content


def test_a_late_version_newer_than_another_late_one_replaces_it(tmp_path):
    rows = ["1,a,2020-01-01 08:00,5,2020-01-01 09:00", "9,z,2020-01-09,1,2020-01-09"]
    settings = configure(tmp_path, rows[1:], HEADER, columns=VERSIONED)
    write_csv(tmp_path, [rows[1], "0,z,2020-01-01,1,2020-01-01"], HEADER)
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, [*rows, "0,z,2020-01-01,1,2020-01-01"], HEADER)
    ingest(settings, "2020-01-04")  # late: known from this night on
    write_csv(
        tmp_path,
        [*rows, rows[0].replace(",5,2020-01-01 09", ",6,2020-01-02 09"), "0,z,2020-01-01,1,2020-01-01"],
        HEADER,
    )
    assert ingest(settings, "2020-01-05")["rows_accepted"] == 1
    events = as_of(settings, "2020-01-05")
    assert events[events.superseded_time.isna() & (events.event_id == "1")].amount.tolist() == [6]


def test_exact_repeats_of_a_mapped_id_are_already_known(tmp_path):
    columns = {"event_id": "id", "customer_id": "who", "event_time": "when"}
    rows = ["1,a,2020-01-01", "1,a,2020-01-01", "2,b,2020-01-01", "3,z,2020-01-05"]
    settings = configure(tmp_path, rows, "id,who,when", columns=columns)
    outcome = ingest(settings, "2020-01-02")
    assert outcome == {"rows_read": 3, "rows_accepted": 2, "rows_quarantined": 0, "rows_already_known": 1}


def test_a_night_that_does_not_add_up_is_not_loaded(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", "b,2020-01-01,1", "z,2020-01-02,1"])
    ingest(settings, "2020-01-02")
    night = night_of(settings, "2020-01-02")
    object_before = (settings.events / "2020-01-02.parquet").read_bytes()
    short = pd.read_parquet(settings.state.accepted(night)).iloc[:1]
    with described(settings.var / "accepted", "2020-01-02.parquet") as file:
        short.to_parquet(file)
    with pytest.raises(RecurError, match="2 rows read, but 1 accepted, 0 quarantined and 0 already known"):
        load(settings, night)
    assert (settings.events / "2020-01-02.parquet").read_bytes() == object_before


def test_a_night_that_was_not_validated_is_named(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", "z,2020-01-02,1"])
    with pytest.raises(RecurError, match="was not validated"):
        load(settings, night_of(settings, "2020-01-02"))


def test_other_columns_than_those_loaded_are_refused(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1,x", "z,2020-01-02,1,x"], "who,when,eur,shop")
    ingest(settings, "2020-01-02")
    columns = settings.source.columns | {"shop": "shop"}
    source = settings.source.model_copy(update={"columns": columns, "categorical": ("shop",)})
    with pytest.raises(RecurError, match="but the configuration asks for"):
        as_of(settings.model_copy(update={"source": source}), "2020-01-02")


def test_the_quarantine_is_counted_for_analysts(tmp_path):
    from sqlalchemy import text

    from tests.support.published import predictions_of

    settings = configure(tmp_path, [",2020-01-01,1", "a,never,1", "b,2020-01-01,1", "z,2020-01-02,1"])
    ingest(settings, "2020-01-02")
    with predictions_of(settings).reading() as connection:
        rows = connection.execute(text("select reason from quarantine_summary order by reason")).scalars().all()
    assert rows == ["customer_id_missing", "event_time_unreadable"]


DELETIONS = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur", "deleted": "removed"}


def test_a_row_that_takes_its_event_back(tmp_path):
    rows = [
        "1,a,2020-01-01 08:00,5,no",
        "2,b,2020-01-01 08:00,6,",
        "3,c,2020-01-01 08:00,7,maybe",
        "9,z,2020-01-09,1,0",
    ]
    settings = configure(tmp_path, rows, "id,who,when,eur,removed", columns=DELETIONS)
    assert ingest(settings, "2020-01-02")["rows_quarantined"] == 1
    write_csv(tmp_path, [*rows, "1,a,2020-01-01 08:00,,2020-01-02 10:00"], "id,who,when,eur,removed")
    assert ingest(settings, "2020-01-03") == {
        "rows_read": 1,
        "rows_accepted": 1,
        "rows_quarantined": 0,
        "rows_already_known": 0,
    }
    before, after = as_of(settings, "2020-01-02"), as_of(settings, "2020-01-03")
    assert before.event_id.tolist() == ["1", "2"]
    assert not before.deleted.any()
    assert after.event_id.tolist() == ["1", "1", "2"]
    assert after[after.superseded_time.isna()].deleted.tolist() == [True, False]


def test_an_event_and_its_deletion_in_one_night(tmp_path):
    rows = ["1,a,2020-01-01 08:00,5,0", "1,a,2020-01-01 08:00,,1", "2,b,2020-01-01 08:00,6,0", "9,z,2020-01-09,1,0"]
    settings = configure(tmp_path, rows, "id,who,when,eur,removed", columns=DELETIONS)
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 3
    events = as_of(settings, "2020-01-02")
    assert events[events.superseded_time.isna() & ~events.deleted].event_id.tolist() == ["2"]
