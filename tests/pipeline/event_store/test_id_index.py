"""Which objects hold an event id: told without opening them, and always as the store is now."""

import os
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.cli.forget import forget
from pipeline.config.settings import Settings
from pipeline.event_store import id_index
from pipeline.event_store.store import event_schema, open_store
from pipeline.runtime.engine import session
from pipeline.runtime.manifest import Manifest
from pipeline.steps.load import load
from tests.support.worlds.csv_nights import configure, ingest, night_of

FIRST = date(2020, 1, 1)
IDS = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur"}


def write(settings: Settings, night: int, ids: list[str]) -> None:
    rows = [{"event_id": one, "customer_id": "a", "deleted": False} for one in ids]
    open_store(settings).write(FIRST + timedelta(days=night), pa.Table.from_pylist(rows, schema=event_schema({})))


def found(settings: Settings, ids: list[str], night: int) -> list[int]:
    store = open_store(settings)
    with session(settings.state) as connection:
        connection.register("wanted", pa.table({"event_id": pa.array(ids, pa.string())}))
        objects = id_index.objects_with(store, settings.state, connection, "wanted", FIRST + timedelta(days=night))
    return [(date.fromisoformat(file.stem) - FIRST).days for file in objects]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configure(tmp_path, ["a,2020-01-01,1"])


def test_objects_are_found_by_what_they_hold_and_files_stay_few(settings: Settings) -> None:
    for night in range(24):
        write(settings, night, [f"{night}-{number}" for number in range(20)] + ["often"] * (night % 10 == 3))
        assert found(settings, [f"{night - 5}-7", "none", f"{night}-1"], night) == ([night - 5] if night > 4 else [])
    assert found(settings, ["often", "often", "5-0"], 24) == [3, 5, 13, 23]
    assert found(settings, ["often", "5-0"], 13) == [3, 5]
    assert len(list(id_index.folder(settings.state).iterdir())) <= 6
    manifest = Manifest.read(id_index.folder(settings.state))
    assert manifest is not None
    assert manifest.damaged() == [], "a run that was merged is described no more"


def test_what_the_store_holds_now_is_what_counts(settings: Settings) -> None:
    for night in range(8):
        write(settings, night, [str(night)])
        found(settings, [], night)
    write(settings, 2, ["new", "another"])
    assert found(settings, ["2", "new", "6"], 8) == [2, 6]


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_run_is_made_again(settings: Settings, damage: bytes | None) -> None:
    for night in range(8):
        write(settings, night, [str(night)])
        found(settings, [], night)
    file = max(id_index.folder(settings.state).glob("*.arrow"), key=lambda run: run.stat().st_size)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    file.write_bytes(flipped if damage is None else damage)
    assert found(settings, [str(night) for night in range(8)], 8) == list(range(8))


def test_what_a_killed_merge_left_counts_once(settings: Settings) -> None:
    write(settings, 0, ["0", "a"])
    found(settings, [], 1)
    [first] = id_index.folder(settings.state).glob("*.arrow")
    content = first.read_bytes()
    write(settings, 1, ["1", "a"])
    assert found(settings, ["a"], 2) == [0, 1]
    first.write_bytes(content)
    assert found(settings, ["a"], 2) == [0, 1]
    assert not first.exists()


def test_a_night_opens_no_object_but_those_that_hold_its_events(tmp_path: Path) -> None:
    rows = ["1,a,2020-01-01 08:00,1", "2,b,2020-01-02 08:00,2", "3,c,2020-01-03 08:00,3", "1,a,2020-01-04 08:00,9"]
    settings = configure(tmp_path, [*rows, "9,z,2020-01-09,1"], "id,who,when,eur", columns=IDS)
    for earlier in ("2020-01-02", "2020-01-03", "2020-01-04"):
        ingest(settings, earlier)
    night = night_of(settings, "2020-01-05")
    whole = settings.events / "2020-01-03.parquet"
    ingest(settings, "2020-01-05")
    object_of_it = (settings.events / "2020-01-05.parquet").read_bytes()
    stamp = whole.stat().st_mtime_ns, whole.read_bytes()
    whole.write_bytes(b"x" * len(stamp[1]))  # cannot be read; its stamp is as it was
    os.utime(whole, ns=(stamp[0], stamp[0]))
    assert load(settings, night)["rows_accepted"] == 1
    assert (settings.events / "2020-01-05.parquet").read_bytes() == object_of_it


def test_nothing_is_kept_of_a_forgotten_customer(tmp_path: Path) -> None:
    rows = ["1,a,2020-01-01 08:00,1", "2,b,2020-01-02 08:00,2", "9,z,2020-01-09,1"]
    settings = configure(tmp_path, rows, "id,who,when,eur", columns=IDS)
    for night in ("2020-01-02", "2020-01-03"):
        ingest(settings, night)
    forget(settings, "a")
    assert not id_index.folder(settings.state).exists()
    assert ingest(settings, "2020-01-04")["rows_accepted"] == 0
