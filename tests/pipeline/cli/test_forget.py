"""Forgetting a customer: nothing of them stays under `paths.var`, and nobody else loses a row or a digit."""

import shutil
from hashlib import sha256
from threading import Thread

import pandas as pd
import pytest

from pipeline.cli.app import main
from pipeline.cli.forget import forget, readmit
from pipeline.event_store.objects import corrections
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.runtime.paths import owner
from pipeline.steps.compare import compare
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.steps.validate import validate
from pipeline.validation.quarantine import quarantined
from tests.pipeline.conftest import World
from tests.support.published import predictions_of, query
from tests.support.worlds.csv_nights import configure, ingest, night_of
from tests.support.worlds.trained_world import FIRST, LATER

ROWS = [
    "Wilhelmina,2020-01-01 08:00,1",
    "b,2020-01-01 09:00,2",
    "Wilhelmina,never,2",
    "Wilhelmina,2020-01-01 10:00,3,4",
    "z,2020-01-02,1",
]


def places(folder, text):
    """The files below `folder` that hold `text`, as it is or in a column of a Parquet file."""
    found = set()
    for file in (one for one in folder.rglob("*") if one.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += pd.read_parquet(file).to_csv().encode()
        if text.encode() in content:
            found.add(file.relative_to(folder).parts[0])
    return found


def test_nothing_of_a_forgotten_customer_stays(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    left = settings.events / f".2020-01-02.parquet.{owner()}0.tmp"  # of a process that was killed
    shutil.copy(settings.events / "2020-01-02.parquet", left)
    removed = forget(settings, "Wilhelmina")
    assert (removed["events"], removed["accepted"], removed["staged"], removed["quarantine"]) == (1, 1, 3, 2)
    assert places(settings.var, "Wilhelmina") == set()
    assert pd.read_parquet(settings.events / "2020-01-02.parquet").customer_id.tolist() == ["b"]
    assert quarantined(settings) == []


def test_a_resend_does_not_bring_them_back(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    forget(settings, "Wilhelmina")
    listed = (settings.var / "suppressed" / "customers").read_text()
    assert sha256(b"Wilhelmina").hexdigest() not in listed
    more = ["Wilhelmina,2020-01-02 08:00,7", "b,2020-01-02 08:00,7", "Wilhelmina,never,2", "z,2020-01-05,1"]
    settings = configure(tmp_path, [*ROWS, *more])  # the next dump: everything, and the next days
    for night in ("2020-01-03", "2020-01-04"):
        ingest(settings, night)
    assert places(settings.var, "Wilhelmina") == set()
    assert pd.read_parquet(settings.events / "2020-01-03.parquet").customer_id.tolist() == ["b", "z"]
    extract(settings, night_of(settings, "2020-01-02"), afresh=True)
    assert places(settings.var, "Wilhelmina") == set()


def test_a_readmitted_customer_comes_with_the_next_dump(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    forget(settings, "Wilhelmina")
    readmit(settings.state, "Wilhelmina")
    with pytest.raises(RecurError, match="not on the suppression list"):
        readmit(settings.state, "Wilhelmina")
    settings = configure(tmp_path, [*ROWS, "Wilhelmina,2020-01-02 08:00,7", "z,2020-01-05,1"])
    ingest(settings, "2020-01-03")
    assert "Wilhelmina" in pd.read_parquet(settings.events / "2020-01-03.parquet").customer_id.tolist()


def test_another_key_is_noticed(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    forget(settings, "Wilhelmina")
    (settings.var / "secrets" / "erasure").unlink()
    with pytest.raises(RecurError, match=r"secrets/erasure is not that of .*suppressed/customers: restore it"):
        extract(settings, night_of(settings, "2020-01-02"), afresh=True)


def test_what_a_killed_sync_and_logs_hold_goes_too(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    [index] = (settings.var / "source").iterdir()
    for name in ("fetched-events.csv", "000009-0000.parquet.rewritten", "000009-0000.parquet"):
        (index / name).write_text("Wilhelmina,2020-01-01 08:00,1")
    log = settings.state.logs / "airflow" / "task.log"
    log.parent.mkdir(parents=True)
    log.write_text("before\nrow of Wilhelmina is strange\nWilhelminas\n")
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("update step_run set message = 'a row of Wilhelmina'")
    forget(settings, "Wilhelmina")
    assert log.read_text() == "before\nWilhelminas\n"
    log.unlink()
    assert places(settings.var, "Wilhelmina") == set()


def test_forgetting_and_steps_wait_for_each_other(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ended = []
    with settings.state.writing():  # as a training does
        thread = Thread(target=lambda: ended.append(forget(settings, "Wilhelmina")))
        thread.start()
        thread.join(1.5)
        assert not ended
        assert places(settings.var, "Wilhelmina") != set()
    thread.join(60)
    assert ended
    assert places(settings.var, "Wilhelmina") == set()


@pytest.mark.filterwarnings("ignore")
def test_the_last_comparison_can_be_made_again(own_world: World):
    settings = own_world.settings
    tested = pd.read_parquet(settings.state.snapshot(FIRST) / "test_predictions.parquet").customer_id
    for customer in (tested.iloc[0], tested.iloc[-1]):
        forget(settings, customer)
        compare(settings, FIRST)
    after = pd.read_parquet(settings.state.snapshot(FIRST) / "test_predictions.parquet").customer_id
    assert len(after) == (~tested.isin([tested.iloc[0], tested.iloc[-1]])).sum()


def test_forgetting_twice_or_nobody_changes_no_byte(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    forget(settings, "Wilhelmina")
    before = {file: file.read_bytes() for file in settings.var.rglob("*.parquet")}
    assert not any(forget(settings, "Wilhelmina").values())
    assert not any(forget(settings, "Nobody").values())
    assert {file: file.read_bytes() for file in settings.var.rglob("*.parquet")} == before


def test_a_store_rid_of_a_customer_is_that_of_a_source_without_them(tmp_path):
    header, nights = "id,who,when,eur,seen", ["2020-01-02", "2020-01-03"]
    rows = [f"{number},{'Wil' if number % 3 else 'b'},2020-01-01 08:00,5,2020-01-01" for number in range(9)]
    rows += ["0,b,2020-01-01 08:00,6,2020-01-02 09:00", "1,Wil,2020-01-01 08:00,6,2020-01-02 09:00"]
    rows += ["3,b,2020-01-01 08:00,5,2020-01-02 09:00", "2,b,2020-01-01 08:00,5,2020-01-02 10:00"]
    columns = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur", "known_time": "seen"}
    settings = []
    for name, kept in (("with", rows), ("without", [row for row in rows if ",Wil," not in row])):
        (tmp_path / name).mkdir()
        settings.append(configure(tmp_path / name, [*kept, "z,z,2020-01-09,1,2020-01-09"], header, columns=columns))
        for night in nights:
            ingest(settings[-1], night)
    with_them, without = settings
    assert corrections(with_them.events / "2020-01-03.parquet") == 3
    forget(with_them, "Wil")
    for night in nights:
        content = (without.events / f"{night}.parquet").read_bytes()
        assert (with_them.events / f"{night}.parquet").read_bytes() == content
        validate(with_them, night_of(with_them, night))
        load(with_them, night_of(with_them, night))
        assert (with_them.events / f"{night}.parquet").read_bytes() == content


@pytest.mark.filterwarnings("ignore")
def test_after_a_whole_run_only_the_source_knows_them(own_world: World, capfd):
    settings, events = own_world.settings, own_world.events
    forgotten = events.loc[events["event_time"].between(LATER - 2 * DAY, LATER), "customer_id"].min()
    with settings.source_path.open("a") as file:
        file.writelines(f"bad{number},{forgotten},{LATER - DAY:%Y-%m-%d} 10:00,much,a\n" for number in range(2))
        file.write(f"end,cust-000,{LATER:%Y-%m-%d} 10:00,5,a\n")  # closes the day before
    night = night_ending_at(settings.events, LATER)
    extract(settings, night, afresh=True)
    for step in (validate, load, score, publish, publish):
        step(settings, night)
    before = pd.read_parquet(settings.state.scored(night))
    config = ["--config", str(settings.file)]
    for command in (["explain", forgotten], ["quarantine", "list"]):
        with pytest.raises(SystemExit, match="0"):
            main([*config, *command])
    kept_in = places(settings.var, forgotten)
    assert {"events", "staged", "accepted", "quarantine", "source", "scored", "snapshots", "predictions.db"} <= kept_in
    capfd.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main([*config, "forget", forgotten])
    assert f"customer {forgotten} is forgotten" in capfd.readouterr().out
    assert places(settings.var, forgotten) == set()
    runs = query(settings, "select status, message, score_date from pipeline_runs where step = 'forget'")[1]
    assert [(status, day) for status, _, day in runs] == [("done", None)]
    assert "rows of one customer erased" in runs[0][1]

    for step in (validate, load, score):  # again: the others' scores are the same to the last digit
        step(settings, night)
    columns = ["customer_id", "horizon_days", "churn_probability", "expected_purchases", "expected_spend"]
    after = pd.read_parquet(settings.state.scored(night))
    others = before[before.customer_id != forgotten]
    pd.testing.assert_frame_equal(after[columns], others[columns].reset_index(drop=True), check_exact=True)
    assert len(others) < len(before)
