"""What lies between the source and the event store is verified before it is read: damage is told, or read again."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli.forget import forget
from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.described import is_whole
from pipeline.runtime.errors import RecurError
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from pipeline.validation.quarantine import quarantined
from tests.support.worlds.csv_nights import configure, ingest, night_of, write_csv
from tests.support.worlds.damage import FILE, SOURCES, harm, send

ROWS = ["a,2020-01-01 08:00,1", "b,2020-01-02 08:00,2", "b,2020-01-02 09:00,much", "c,2020-01-03 08:00,3"]
LAST = "z,2020-01-09,1"
HARMS = ("deleted", "one bit")  # the others are tried by `make check NAME=damage`


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two nights are loaded, and the source was read twice."""
    made = configure(tmp_path, [*ROWS[:3], LAST])
    ingest(made, "2020-01-02")
    write_csv(tmp_path, [*ROWS, LAST])
    ingest(made, "2020-01-03")
    return made


def only(settings: Settings, pattern: str) -> Path:
    return sorted(settings.var.glob(pattern))[-1]


@pytest.mark.parametrize("damage", HARMS)
@pytest.mark.parametrize("pattern", ["source/*/contents.json", "source/*/*-0000.parquet", "source/*/*.gone"])
def test_a_damaged_index_stops_the_night(settings: Settings, pattern: str, damage: str) -> None:
    file = only(settings, pattern)
    harm(file, damage)
    with pytest.raises(
        RecurError, match=rf"{file.name} is (damaged: .*|missing): put it back from a backup, or remove"
    ):
        ingest(settings, "2020-01-04")
    assert len(list(settings.events.glob("*.parquet"))) == 2


def test_an_index_that_is_removed_is_made_again(settings: Settings) -> None:
    for file in only(settings, "source/*/contents.json").parent.iterdir():
        file.unlink()
    assert ingest(settings, "2020-01-04")["rows_accepted"] == 1


@pytest.mark.parametrize("damage", HARMS)
@pytest.mark.parametrize("folder", ["staged", "accepted", "quarantine"])
def test_a_damaged_night_is_not_loaded(settings: Settings, folder: str, damage: str) -> None:
    night = night_of(settings, "2020-01-04")
    extract(settings, night)
    validate(settings, night)
    harm(settings.var / folder / "2020-01-04.parquet", damage)
    with pytest.raises(RecurError, match=rf"{folder}/2020-01-04.parquet (is damaged|does not exist): .*recur ingest"):
        load(settings, night)
    assert ingest(settings, "2020-01-04")["rows_accepted"] == 1


@pytest.mark.parametrize("damage", HARMS)
def test_a_loaded_night_whose_rows_are_damaged_is_read_from_the_source(settings: Settings, damage: str) -> None:
    before = (settings.events / "2020-01-03.parquet").read_bytes()
    harm(settings.var / "staged" / "2020-01-03.parquet", damage)
    assert ingest(settings, "2020-01-03")["rows_read"] == 2
    assert (settings.events / "2020-01-03.parquet").read_bytes() == before


@pytest.mark.parametrize("damage", HARMS)
def test_rows_set_aside_are_not_lost_in_silence(settings: Settings, damage: str) -> None:
    harm(settings.var / "quarantine" / "2020-01-03.parquet", damage)
    with pytest.raises(RecurError, match=r"quarantine/2020-01-03.parquet is (damaged: .*|missing): put it back"):
        quarantined(settings)


def test_forgetting_leaves_files_that_are_what_was_written(settings: Settings) -> None:
    forget(settings, "b")
    files = [
        file for folder in ("source", "staged", "quarantine") for file in (settings.var / folder).rglob("*.parquet")
    ]
    assert files
    assert all(map(is_whole, files))
    assert ingest(settings, "2020-01-04")["rows_accepted"] == 1


@pytest.mark.parametrize("damage", [*HARMS, "the folder"])
def test_synced_rows_are_not_lost_in_silence(tmp_path: Path, damage: str) -> None:
    file = configure(tmp_path, ROWS).file
    assert file
    file.write_text(file.read_text().replace(FILE, SOURCES["sql"]))
    settings, rows = load_settings(file), pd.read_csv(tmp_path / "events.csv", dtype=str)
    last = pd.DataFrame([LAST.split(",")], columns=rows.columns)
    send(tmp_path, "sql", pd.concat([rows[:2], last]))
    ingest(settings, "2020-01-02")
    send(tmp_path, "sql", pd.concat([rows, last]))
    synced = only(settings, "pulled/*/*.parquet")
    harm(synced.parent if damage == "the folder" else synced, "deleted" if damage == "the folder" else damage)
    with pytest.raises(RecurError, match="put it back from a backup, or remove the folders pulled and source"):
        ingest(settings, "2020-01-03")


@pytest.mark.parametrize("damage", HARMS)
def test_the_list_of_watermarks_is_made_again(tmp_path: Path, damage: str) -> None:
    file = configure(tmp_path, ROWS).file
    assert file
    file.write_text(file.read_text().replace(FILE, SOURCES["sql"]))
    settings, rows = load_settings(file), pd.read_csv(tmp_path / "events.csv", dtype=str)
    send(tmp_path, "sql", rows)
    ingest(settings, "2020-01-02")
    harm(only(settings, "pulled/*/reaches.json"), damage)
    send(tmp_path, "sql", pd.concat([rows, pd.DataFrame([LAST.split(",")], columns=rows.columns)]))
    assert ingest(settings, "2020-01-04")["rows_accepted"] == 2


def test_damaged_readings_stop_the_night(settings: Settings) -> None:
    write_csv(settings.root, [*ROWS, "d,2020-01-03 09:00,4", LAST])
    harm(settings.var / "readings.json", "one bit")
    with pytest.raises(RecurError, match=r"readings.json is damaged: put it back from a backup, or remove it"):
        ingest(settings, "2020-01-04")


def test_readings_hold_no_value_of_a_customer(settings: Settings) -> None:
    text = (settings.var / "readings.json").read_text()
    assert "0 amount" in text
    assert not [value for value in ("much", "2020-01", "08:00") if value in text]
