"""Rows that two files of one pattern have are the same events; what comes again with other values is named."""

import pandas as pd
import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import last_message
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.sources.factory import open_source
from pipeline.steps.extract import extract
from tests.support.stored import rows_of
from tests.support.worlds.csv_nights import configure, day, ingest, last_closed, night_of, write_csv

HEADER = "id,who,when,eur"
FIRST, SECOND, OPEN = "1,a,2020-01-01 08:00,1", "2,b,2020-01-02 08:00,2", "9,z,2020-01-09,1"


def write(folder, name: str, *rows: str) -> None:
    (folder / name).write_text("\n".join([HEADER, *rows]) + "\n")


def of_files(folder, rows_are: str = "events", ids: bool = False) -> Settings:
    columns = {"customer_id": "who", "event_time": "when", "amount": "eur"} | ({"event_id": "id"} if ids else {})
    lines = ["[source]", 'kind = "csv"', 'path = "e-*.csv"', f'rows_are = "{rows_are}"', "[source.columns]"]
    (folder / "recur.toml").write_text("\n".join([*lines, *(f'{name} = "{its}"' for name, its in columns.items())]))
    return load_settings(folder / "recur.toml")


def rows(settings: Settings) -> int:
    """How many rows the history up to the last closed day has."""
    return open_source(settings).extract(Night(None, day("2020-01-03")), settings.root / "staged.parquet")


def current(settings: Settings, cutoff: str) -> pd.DataFrame:
    rows = rows_of(open_store(settings).as_of(day(cutoff)))
    return rows[rows.superseded_time.isna()]


@pytest.mark.parametrize(
    ("second", "events"),
    [
        ([FIRST, SECOND, OPEN], 2),  # one of them again
        ([FIRST, FIRST, FIRST, SECOND, OPEN], 4),  # a file with three is right about the third
        ([SECOND, OPEN], 2),
    ],
)
def test_equal_rows_of_two_files_are_one_event(tmp_path, second, events):
    write(tmp_path, "e-1.csv", FIRST)
    write(tmp_path, "e-2.csv", *second)
    assert rows(of_files(tmp_path)) == events


def test_equal_rows_of_one_file_are_two_events(tmp_path):
    write(tmp_path, "e-1.csv", FIRST, FIRST, OPEN)
    write(tmp_path, "e-2.csv", FIRST)
    assert rows(of_files(tmp_path)) == 2


def test_a_file_that_comes_later_brings_only_what_is_new(tmp_path):
    write(tmp_path, "e-1.csv", FIRST, SECOND, OPEN)
    settings = of_files(tmp_path)
    ingest(settings, "2020-01-02")
    write(tmp_path, "e-2.csv", FIRST, SECOND, "3,c,2020-01-02 09:00,3", OPEN)
    assert ingest(settings, "2020-01-03")["rows_read"] == 2
    assert sorted(current(settings, "2020-01-03").customer_id) == ["a", "b", "c"]


def test_what_one_file_no_longer_holds_and_another_does_stays_that_event(tmp_path):
    write(tmp_path, "e-1.csv", FIRST, SECOND, OPEN)
    write(tmp_path, "e-2.csv", FIRST, SECOND)
    settings = of_files(tmp_path)
    ingest(settings, "2020-01-02")
    write(tmp_path, "e-1.csv", OPEN)
    assert ingest(settings, "2020-01-03")["rows_already_known"] == 1
    assert sorted(current(settings, "2020-01-03").customer_id) == ["a", "b"]


def test_files_of_two_entries_are_never_compared(tmp_path):
    for name in ("north.csv", "south.csv"):
        write(tmp_path, name, FIRST, OPEN)
    entries = "".join(f'[[source.files]]\npath = "{name}.csv"\n' for name in ("north", "south"))
    columns = '[source.columns]\ncustomer_id = "who"\nevent_time = "when"\n'
    (tmp_path / "recur.toml").write_text(f'[source]\nkind = "csv"\n{columns}{entries}')
    assert rows(load_settings(tmp_path / "recur.toml")) == 2


def test_lines_of_two_files_are_one_line(tmp_path):
    write(tmp_path, "e-1.csv", FIRST, FIRST, OPEN)
    write(tmp_path, "e-2.csv", FIRST, FIRST, SECOND)
    settings = of_files(tmp_path, "lines", ids=True)
    ingest(settings, "2020-01-03")
    assert current(settings, "2020-01-03").set_index("event_id").amount.to_dict() == {"1": 2, "2": 2}


def test_of_one_id_the_latest_row_counts_also_where_it_says_what_an_earlier_file_said(tmp_path):
    settings = of_files(tmp_path, ids=True)
    for name, amount in (("e-1.csv", 1), ("e-2.csv", 6), ("e-3.csv", 1)):
        write(tmp_path, name, f"1,a,2020-01-01 08:00,{amount}", OPEN)
        last_closed(settings)  # a sync
    ingest(settings, "2020-01-02")
    assert current(settings, "2020-01-02").amount.tolist() == [1]


def test_repeats_with_an_id_do_not_count_against_a_night(tmp_path):
    write(tmp_path, "e-1.csv", *[FIRST] * 20, OPEN)
    outcome = ingest(of_files(tmp_path, ids=True), "2020-01-02")
    assert (outcome["rows_accepted"], outcome["rows_already_known"]) == (1, 19)


@pytest.mark.parametrize(("ids", "changed", "words"), [(False, True, True), (False, False, False), (True, True, False)])
def test_loaded_rows_that_come_again_with_other_values_are_named(tmp_path, ids, changed, words):
    columns = {"customer_id": "who", "event_time": "when", "amount": "eur"} | ({"event_id": "id"} if ids else {})
    settings = configure(tmp_path, [FIRST, SECOND, OPEN], HEADER, columns=columns)
    ingest(settings, "2020-01-02")
    later = ["1,a,2020-01-01 08:00,0"] if changed else [FIRST, "4,d,2020-01-01 08:00,1"]
    write_csv(tmp_path, [*later, SECOND, OPEN], HEADER)
    outcome = extract(settings, night_of(settings, "2020-01-03"))
    assert ("message" in outcome) == words
    message = last_message(open_predictions(settings.predictions, settings.root), "extract", day("2020-01-03").date())
    assert (message or "").startswith("1 rows came again, late") == words
