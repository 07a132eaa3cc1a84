"""Lines that are grouped into events, several files for one source, and types and amounts that no column holds."""

import pandas as pd
import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.factory import open_source
from pipeline.validation.quarantine import quarantined
from tests.support.worlds.csv_nights import day, ingest, last_closed

TOML = """
[source]
kind = "csv"
{files}
rows_are = "lines"
default_event_type = "purchase"
categorical = ["shop"]
[source.columns]
event_id = "bill"
customer_id = "who"
event_time = "when"
quantity = "pieces"
unit_price = "price"
shop = "shop"
[[source.event_types]]
name = "cancellation"
column = "event_id"
starts_with = "C"
[validation]
{validation}
"""
HEADER = "bill,who,when,pieces,price,shop"
END = "99,z,2020-01-09,1,1,a"


def configure(folder, files, entries='path = "events.csv"', validation="", edit=("", "")) -> Settings:
    for name, rows in files.items():
        (folder / name).write_text("\n".join(rows) + "\n", "utf-8")
    text = TOML.format(files=entries, validation=validation).replace(*edit)
    (folder / "recur.toml").write_text(text, "utf-8")
    return load_settings(folder / "recur.toml")


def stored(settings: Settings, night: str) -> pd.DataFrame:
    return pd.read_parquet(settings.events / f"{night}.parquet").set_index("event_id")


def test_the_lines_of_a_bill_are_one_event(tmp_path):
    rows = [
        HEADER,
        "1,a,2020-01-01 10:01,2,0.1,",
        "1,a,2020-01-01 10:00,1,0.2,north",
        "1,a,2020-01-01 10:02,3,1.05,south",
        "1,a,2020-01-01 10:02,3,1.05,south",
        "C2,a,2020-01-01 11:00,-2,0.1,north",
        END,
    ]
    settings = configure(tmp_path, {"events.csv": rows})
    outcome = ingest(settings, "2020-01-02")
    assert outcome == {"rows_read": 5, "rows_accepted": 5, "rows_quarantined": 0, "rows_already_known": 0}
    events = stored(settings, "2020-01-02")
    bill = events.loc["1"]
    assert (bill.amount, bill.quantity, bill.lines, bill.shop) == (6.7, 9, 4, "north")
    assert bill.event_time == pd.Timestamp("2020-01-01 10:00", tz="UTC")
    assert events.event_type.to_dict() == {"1": "purchase", "C2": "cancellation"}
    assert events.loc["C2"].amount == -0.2


def test_an_event_is_known_with_its_last_line(tmp_path):
    rows = [HEADER, "1,a,2020-01-01 23:59,1,2,x", "1,a,2020-01-02 00:01,1,3,x", "2,b,2020-01-01 08:00,1,1,x", END]
    settings = configure(tmp_path, {"events.csv": rows})
    assert ingest(settings, "2020-01-02")["rows_read"] == 1
    assert ingest(settings, "2020-01-03")["rows_read"] == 2
    bill = stored(settings, "2020-01-03").loc["1"]
    assert (bill.amount, bill.event_time) == (5, pd.Timestamp("2020-01-01 23:59", tz="UTC"))
    assert bill.known_time == day("2020-01-03")


def test_a_bad_line_is_set_aside_and_the_others_make_the_event(tmp_path):
    rows = [HEADER, "1,a,2020-01-01,1,2,x", "1,a,2020-01-01,1,much,x", "1,a,2020-01-01,1e6,1e6,x", END]
    settings = configure(tmp_path, {"events.csv": rows})
    outcome = ingest(settings, "2020-01-02")
    assert outcome == {"rows_read": 3, "rows_accepted": 1, "rows_quarantined": 2, "rows_already_known": 0}
    assert [one.reason for one in quarantined(settings)] == ["amount_absurd", "unit_price_unreadable"]
    assert stored(settings, "2020-01-02").loc["1"].amount == 2


def test_lines_of_one_bill_must_agree_on_the_customer(tmp_path):
    rows = [HEADER, "1,a,2020-01-01,1,2,x", "1,b,2020-01-01,1,3,x", "2,b,2020-01-01,1,4,x", END]
    settings = configure(tmp_path, {"events.csv": rows})
    assert ingest(settings, "2020-01-02")["rows_quarantined"] == 2
    assert [one.reason for one in quarantined(settings)] == ["event_id_conflict"]


def test_expected_reasons_do_not_refuse_a_night(tmp_path):
    guests = [f"g{number},,2020-01-01,1,1,x" for number in range(50)]
    rows = [HEADER, *guests, "1,a,2020-01-01,1,2,x", END]
    with pytest.raises(RecurError, match="no customer is named"):
        ingest(configure(tmp_path, {"events.csv": rows}), "2020-01-02")
    settings = configure(tmp_path, {"events.csv": rows}, validation='expected_reasons = ["customer_id_missing"]')
    assert ingest(settings, "2020-01-02")["rows_quarantined"] == 50
    (folder := tmp_path / "fixed").mkdir()
    others = [f"h{number},c,2020-01-01,1,much,x" for number in range(3)]
    settings = configure(
        folder, {"events.csv": [*rows, *others]}, validation='expected_reasons = ["customer_id_missing"]'
    )
    with pytest.raises(RecurError, match=r"3 of 54 rows \(5.6%\) were set aside.*unit_price is no number"):
        ingest(settings, "2020-01-02")


def test_an_unknown_expected_reason_is_named(tmp_path):
    settings = configure(tmp_path, {"events.csv": [HEADER, END]}, validation='expected_reasons = ["guest"]')
    with pytest.raises(ConfigurationError, match="'guest', which is no reason here: it can have unreadable, cust"):
        ingest(settings, "2020-01-09")


FILES = """
[[source.files]]
path = "old.csv"
before = 2020-01-03
[[source.files]]
path = "new.csv"
since = 2020-01-03
columns = { event_id = "number" }
"""
IN_TWO = {
    "old.csv": [HEADER, "1,a,2020-01-01,1,1,x", "2,a,never,1,1,x", "3,a,2020-01-03,1,9,x"],
    "new.csv": [HEADER.replace("bill", "number"), "1,a,2020-01-02,1,9,x", "3,a,2020-01-03,1,2,x", END],
}


def test_lines_inherit_the_customer_and_the_time_of_the_line_that_has_them(tmp_path):
    rows = [
        HEADER,
        "1,,,1,0.1,south",
        "1,a,2020-01-01 10:00,2,0.1,north",
        "1, ,,3,0.1,",
        "2,b,,1,1,",
        "3,c,never,1,1,",
        "3,c,,1,1,",
        ",,,1,1,",
        END,
    ]
    settings = configure(tmp_path, {"events.csv": rows}, validation="max_quarantined_share = 1.0")
    outcome = ingest(settings, "2020-01-02")
    assert (outcome["rows_read"], outcome["rows_quarantined"]) == (7, 4)
    bill = stored(settings, "2020-01-02").loc["1"]
    assert (bill.customer_id, bill.event_time, bill.lines) == ("a", pd.Timestamp("2020-01-01 10:00", tz="UTC"), 3)
    assert bill.amount == pytest.approx(0.6)


def test_lines_inherit_a_time_outside_of_what_is_taken_from_their_file(tmp_path):
    entry = '[[source.files]]\npath = "events.csv"\nbefore = 2020-01-01'
    edited = TOML.replace("{files}\n", "").replace("[validation]", f"{entry}\n[validation]")
    (tmp_path / "recur.toml").write_text(edited.format(validation=""))
    rows = [HEADER, "1,a,2020-01-01 10:00,2,0.1,", "1,,,3,0.1,", "2,b,2019-12-31,1,1,", "2,,,1,1,"]
    (tmp_path / "events.csv").write_text("\n".join(rows))
    outcome = open_source(load_settings(tmp_path / "recur.toml")).extract(
        Night(None, day("2020-01-02")), tmp_path / "staged.parquet"
    )
    assert outcome == 2


def test_several_files_with_other_headers_and_an_overlap(tmp_path):
    for name, rows in IN_TWO.items():
        (tmp_path / name).write_text("\n".join(rows) + "\n", "utf-8")
    text = TOML.format(files="", validation="") + FILES
    (tmp_path / "recur.toml").write_text(text, "utf-8")
    settings = load_settings(tmp_path / "recur.toml")
    outcome = ingest(settings, "2020-01-04")
    assert outcome == {"rows_read": 3, "rows_accepted": 2, "rows_quarantined": 1, "rows_already_known": 0}
    assert stored(settings, "2020-01-04").amount.to_dict() == {"1": 1, "3": 2}


def test_a_pattern_stands_for_all_files_that_fit(tmp_path):
    files = {f"sales-{on}.csv": [HEADER, f"{on},a,2020-01-0{on},1,{on},x"] for on in range(1, 5)}
    settings = configure(tmp_path, files, 'path = "sales-*.csv"')
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 2
    assert last_closed(settings) == day("2020-01-04")
    (tmp_path / "sales-5.csv").write_text(f"{HEADER}\n{END}\n")
    assert last_closed(settings) == day("2020-01-09")


def test_a_pattern_that_nothing_fits_is_named(tmp_path):
    with pytest.raises(RecurError, match=r"no file fits .*sales-\*.csv"):
        last_closed(configure(tmp_path, {}, 'path = "sales-*.csv"'))


def test_whole_numbers_kept_as_floats_are_the_same_ids(tmp_path):
    settings = configure(tmp_path, {"events.csv": [HEADER, "1,7,2020-01-01,1,2.5,x", END]}, edit=('"csv"', '"parquet"'))
    frame = pd.read_csv(tmp_path / "events.csv", dtype={"bill": float})
    frame.assign(who=[7.0, None]).to_parquet(tmp_path / "events.csv")
    ingest(settings, "2020-01-02")
    events = stored(settings, "2020-01-02")
    assert (events.index.tolist(), events.customer_id.tolist(), events.amount.tolist()) == (["1"], ["7"], [2.5])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (('event_id = "bill"\n', ""), 'rows_are = "lines" needs columns.event_id'),
        (('quantity = "pieces"', 'known_time = "seen"'), "goes with no columns.known_time"),
        (('quantity = "pieces"\n', ""), "columns.unit_price needs columns.quantity"),
        (('shop = "shop"\n', 'shop = "shop"\nevent_type = "x"\n'), "event_types goes with no columns.event_type"),
        (('column = "event_id"', 'column = "bill"'), "event_types: 'bill' is no column"),
        (('shop = "shop"\n', 'shop = "shop"\nlines = "x"\n'), "columns.lines is a name that recur uses itself"),
        (('path = "events.csv"\n', ""), "needs path, the file to read, or"),
        (
            ('starts_with = "C"', 'starts_with = "C"\nbegins = "C"'),
            r"source.event_types.begins: unknown key; known here: name, column, st",
        ),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path, edit, words):
    with pytest.raises(ConfigurationError, match=words):
        configure(tmp_path, {}, edit=edit)


def test_files_that_map_differently_are_refused(tmp_path):
    text = TOML.format(files="", validation="") + FILES.replace('event_id = "number"', 'size = "number"')
    (tmp_path / "recur.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=r"columns.size is mapped for some of \[\[source.files\]\]"):
        load_settings(tmp_path / "recur.toml")


def test_lines_that_were_taken_back_do_not_count(tmp_path):
    rows = [
        HEADER + ",removed",
        "1,a,2020-01-01,1,2,x,",
        "1,a,2020-01-01,1,3,x,yes",
        "2,b,2020-01-01,1,4,x,yes",
        END + ",",
    ]
    settings = configure(
        tmp_path, {"events.csv": rows}, edit=('shop = "shop"\n', 'shop = "shop"\ndeleted = "removed"\n')
    )
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 3
    events = stored(settings, "2020-01-02")
    assert events.amount.fillna(0).to_dict() == {"1": 2, "2": 0}
    assert events.deleted.to_dict() == {"1": False, "2": True}
