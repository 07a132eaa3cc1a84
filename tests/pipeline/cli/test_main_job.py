"""The main job through the real DAGs, on a small foreign CSV: every night once, then only what is new."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli.main_job import pending_nights
from pipeline.cli.main_job import run as run_job
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import DAY
from tests.support.published import predictions_of
from tests.support.servers.one_process import Done, OneProcess, one_process
from tests.support.worlds.trained_world import FIRST, TOML, eligible_by_hand, made_up_events

NIGHTS = [date(2020, 8, 1), date(2020, 8, 2), date(2020, 8, 3)]
HEADING = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur"}


def run(process: OneProcess, folder: Path, until: date) -> Done:
    return process.recur("--config", str(folder / "recur.toml"), "run", "--until", until.isoformat())


def settings_of(folder: Path) -> Settings:
    from pipeline.config.settings import load_settings

    return load_settings(folder / "recur.toml")


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    return made_up_events()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    with one_process(tmp_path_factory.mktemp("output")) as process:
        yield process


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, events: pd.DataFrame, process: OneProcess) -> Path:
    """A folder after the job's first two nights, with the third one's rows broken, tried, and fixed."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "recur.toml").write_text(TOML + "\n[run]\nfirst_night = 2020-08-01\n")
    whole = events.rename(columns=HEADING)
    whole.to_csv(folder / "events.csv", index=False)
    first = run(process, folder, NIGHTS[1])
    (folder / "first.txt").write_text(first.stdout + first.stderr)
    assert first.returncode == 0, first.stderr
    third = (events["event_time"] >= FIRST + DAY) & (events["event_time"] < FIRST + 2 * DAY)
    whole.assign(eur=whole["eur"].astype("string").mask(third, "broken")).to_csv(folder / "events.csv", index=False)
    broken = run(process, folder, NIGHTS[2])
    (folder / "broken.txt").write_text(broken.stderr)
    (folder / "kept.txt").write_text(repr((broken.returncode, predictions_of(settings_of(folder)).published_nights())))
    whole.to_csv(folder / "events.csv", index=False)
    return folder


def test_the_first_night_is_scored_after_the_first_training(world: Path, events: pd.DataFrame) -> None:
    from sqlalchemy import text

    from tests.support.published import predictions_of

    with predictions_of(settings_of(world)).reading() as connection:
        rows = connection.execute(
            text("select customer_id from prediction_history where score_date = '2020-08-01' and horizon_days = 14")
        )
        scored = sorted(row.customer_id for row in rows)
    assert scored == eligible_by_hand(events, FIRST)


def test_the_job_shows_its_nights_and_no_librarys_output(world: Path) -> None:
    shown = (world / "first.txt").read_text()
    assert "2 nights, 2020-08-01 to 2020-08-02" in shown
    assert "2020-08-01 done" in shown
    assert "DAG TEST" not in shown
    assert "DAG TEST" in (world / "var" / "logs" / "run.log").read_text()


def test_a_broken_night_ends_in_one_line_and_leaves_what_was_published(world: Path) -> None:
    line = (world / "broken.txt").read_text()
    assert (world / "kept.txt").read_text() == repr((1, NIGHTS[:2]))
    assert len(line.splitlines()) == 1
    assert line.startswith("recur: night 2020-08-03, validate: ")


def test_after_the_fix_the_job_goes_on_and_then_has_nothing_to_do(
    world: Path, process: OneProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(world)
    assert pending_nights(settings, NIGHTS[2]) == [FIRST + 2 * DAY]
    assert run(process, world, NIGHTS[2]).returncode == 0
    assert predictions_of(settings).published_nights() == open_store(settings).nights() == NIGHTS
    assert pending_nights(settings, NIGHTS[2]) == []
    monkeypatch.setattr(
        "pipeline.cli.main_job._work_through", lambda *_: pytest.fail("a night was worked through again")
    )
    run_job(settings, NIGHTS[2])
    assert "Where to look next" in capsys.readouterr().out


def test_every_job_is_recorded_with_its_time_and_memory(world: Path) -> None:
    from sqlalchemy import text

    from tests.support.published import predictions_of

    with predictions_of(settings_of(world)).reading() as connection:
        jobs = connection.execute(
            text("select status, seconds, peak_memory_bytes from pipeline_runs where step = 'run' order by started_at")
        ).all()
    assert [job.status for job in jobs][:2] == ["done", "failed"]
    assert all(job.seconds > 0 and job.peak_memory_bytes > 2**20 for job in jobs)


def test_airflow_shows_when_a_night_was_worked_on_and_how_long(world: Path) -> None:
    with closing(sqlite3.connect(world / "var" / "airflow" / "airflow.db")) as connection:
        runs = connection.execute("select logical_date, start_date, end_date from dag_run").fetchall()
    assert {logical[:10] for logical, *_ in runs} >= {"2020-07-31", "2020-08-01"}
    for _, *times in runs:
        start, end = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in times)
        assert start.timestamp() > (world / "recur.toml").stat().st_mtime
        assert start < end <= datetime.now(UTC)


def test_a_last_night_before_the_first_is_refused(world: Path) -> None:
    with pytest.raises(ConfigurationError, match="choose 2020-08-01 or later"):
        pending_nights(settings_of(world), date(2020, 7, 31))


def test_pending_nights_begin_at_the_first_and_end_at_the_sources_end(tmp_path: Path, events: pd.DataFrame) -> None:
    (tmp_path / "recur.toml").write_text(TOML + "\n[run]\nfirst_night = 2020-08-01\n")
    events.rename(columns=HEADING).to_csv(tmp_path / "events.csv", index=False)
    nights = pending_nights(settings_of(tmp_path))
    last = events["event_time"].max().normalize().to_pydatetime()
    assert nights[0] == FIRST
    assert nights[-1] == last == datetime(last.year, last.month, last.day, tzinfo=UTC)
    assert nights == sorted(set(nights))


def test_a_second_run_says_who_is_working(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with (
        settings.state.at_work("run", "never"),
        pytest.raises(RecurError, match=rf"are being worked through already: .* \(process {os.getpid()} on .*\)"),
    ):
        run_job(settings)
