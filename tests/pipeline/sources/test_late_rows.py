"""Rows that come later for past days: brought in once, as known when they were first seen, and the nights before them
stay as they were.
"""

import shutil

import pandas as pd
import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import open_store
from pipeline.runtime.errors import RecurError
from tests.support.stored import rows_of
from tests.support.worlds.csv_nights import configure, day, ingest, night_of, write_csv

ROWS = ["a,2020-01-01 08:00,1", "b,2020-01-02 08:00,2", "c,2020-01-03 08:00,3", "z,2020-01-09,1"]
LATE = "d,2020-01-01 09:00,4"
IDS = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur"}


def stored(settings: Settings, night: str) -> pd.DataFrame:
    return pd.read_parquet(settings.events / f"{night}.parquet")


def contents(settings: Settings) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(settings.events.glob("*.parquet"))}


def test_a_row_that_comes_late_is_known_at_the_night_that_first_saw_it(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    before = contents(settings)
    write_csv(tmp_path, [LATE, *ROWS])
    assert ingest(settings, "2020-01-03")["rows_read"] == 2
    events = stored(settings, "2020-01-03").set_index("customer_id")
    assert events.known_time.to_dict() == {"b": day("2020-01-03"), "d": day("2020-01-03")}
    assert ingest(settings, "2020-01-04")["rows_read"] == 1
    assert before.items() <= contents(settings).items()


@pytest.mark.parametrize("kept", [True, False])
def test_a_loaded_night_is_read_again_as_it_was(tmp_path, kept):
    settings = configure(tmp_path, ROWS)
    for night in ("2020-01-02", "2020-01-03"):
        ingest(settings, night)
    before = contents(settings)
    write_csv(tmp_path, [LATE, ROWS[0].replace("08:00", "07:00"), *ROWS[1:]])
    ingest(settings, "2020-01-04")
    if not kept:
        settings.state.staged(night_of(settings, "2020-01-02")).unlink()
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 1
    assert before.items() <= contents(settings).items()


def test_a_night_whose_rows_nobody_kept_cannot_be_read_again(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    (tmp_path / "var" / "staged" / "2020-01-02.parquet").unlink()
    for file in (tmp_path / "var" / "source").glob("*/*"):
        file.unlink()
    with pytest.raises(RecurError, match="2020-01-02 cannot be read again: its staged rows are past"):
        ingest(settings, "2020-01-02")


def test_rows_alike_that_come_late_are_events_of_their_own(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, [ROWS[0], *ROWS])
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 2
    both = pd.concat([stored(settings, "2020-01-02"), stored(settings, "2020-01-03")]).query("customer_id == 'a'")
    assert both.event_id.str[-2:].tolist() == ["-1", "-2"]
    assert len(set(both.event_id.str[:-2])) == 1


def test_what_the_source_takes_back_before_its_night_is_not_read(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, [ROWS[0], ROWS[1].replace("08:00,2", "08:00,7"), *ROWS[2:]])
    assert ingest(settings, "2020-01-03")["rows_read"] == 1
    assert stored(settings, "2020-01-03").amount.tolist() == [7]


def test_a_changed_row_of_a_loaded_night_is_a_correction(tmp_path):
    rows = [f"{place},{row}" for place, row in enumerate(ROWS)]
    settings = configure(tmp_path, rows, "id,who,when,eur", columns=IDS)
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, [rows[0].replace(",1", ",5"), *rows[1:]], "id,who,when,eur")
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 2
    for cutoff, amount in (("2020-01-02", 1), ("2020-01-03", 5)):
        found = rows_of(open_store(settings).as_of(day(cutoff)))
        assert found[found.event_id.eq("0") & found.superseded_time.isna()].amount.tolist() == [amount]


def test_a_row_whose_arrival_was_seen_late_counts_as_known_when_it_was_seen(tmp_path):
    columns = IDS | {"known_time": "seen"}
    header = "id,who,when,eur,seen"
    rows = [
        "1,a,2020-01-01 08:00,1,2020-01-01 09:00",
        "2,b,2020-01-02 08:00,2,2020-01-02 09:00",
        "9,z,2020-01-09,1,2020-01-09",
    ]
    settings = configure(tmp_path, rows, header, columns=columns)
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, ["3,c,2020-01-01 08:00,1,2020-01-01 10:00", *rows], header)
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 2
    events = stored(settings, "2020-01-03").set_index("event_id").known_time
    assert events.to_dict() == {"2": pd.Timestamp("2020-01-02 09:00", tz="UTC"), "3": day("2020-01-03")}


def test_a_line_that_comes_late_corrects_its_event(tmp_path):
    rows = ["1,a,2020-01-01 08:00,1", "2,b,2020-01-02 08:00,2", "9,z,2020-01-09,1"]
    settings = configure(tmp_path, rows, "id,who,when,eur", columns=IDS, rows_are="lines")
    ingest(settings, "2020-01-02")
    write_csv(tmp_path, [*rows, "1,a,2020-01-01 07:00,10"], "id,who,when,eur")
    assert ingest(settings, "2020-01-03")["rows_read"] == 3
    events = stored(settings, "2020-01-03").set_index("event_id")
    assert events.amount.to_dict() == {"1": 11, "2": 2}
    assert events.lines.to_dict() == {"1": 2, "2": 1}


def test_a_project_that_moved_goes_on_where_it_was(tmp_path):
    (tmp_path / "here").mkdir()
    settings = configure(tmp_path / "here", ROWS)
    ingest(settings, "2020-01-02")
    before = contents(settings)
    for there, night, who in (("moved", "2020-01-03", ["b"]), ("copied", "2020-01-04", ["c"])):
        if there == "moved":
            (tmp_path / "here").rename(tmp_path / there)
        else:  # no file has the stamp that it had
            shutil.copytree(tmp_path / "moved", tmp_path / there, copy_function=shutil.copyfile)
        settings = load_settings(tmp_path / there / "recur.toml")
        assert ingest(settings, night)["rows_read"] == 1
        assert stored(settings, night).customer_id.tolist() == who
    assert before.items() <= contents(settings).items()


def test_staged_rows_are_kept_for_a_while(tmp_path):
    settings = configure(tmp_path, ROWS)
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"keep_staged": 1})})
    for night in ("2020-01-02", "2020-01-03", "2020-01-04"):
        ingest(settings, night)
    for folder in ("staged", "accepted"):
        kept = sorted(file.stem for file in (tmp_path / "var" / folder).glob("*.parquet"))
        assert kept == ["2020-01-03", "2020-01-04"]
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 1
