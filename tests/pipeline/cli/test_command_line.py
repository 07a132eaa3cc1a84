"""The command `recur`: every command of the design, one-line errors, exit statuses, and what it writes for programs."""

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli.app import main
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import open_store
from pipeline.monitoring.published import require_published_within
from pipeline.runtime.errors import RecurError
from tests.pipeline.conftest import World
from tests.support.published import predictions_of
from tests.support.worlds.published_world import publish_nights

DESIGNED = (
    "run ingest train score review query compare explain quarantine forget promote rollback check".split()  # noqa: SIM905
)


def recur(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(str(exit_.value.code))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration of a small CSV: one customer who comes every ten days, one who came once."""
    days = pd.date_range("2020-01-01", "2020-04-30", freq="10D")
    rows = [f"ann,{day:%Y-%m-%d},10.5" for day in days] + ["bob,2020-01-05,7", "bob,2020-04-30,8"]
    (tmp_path / "events.csv").write_text("\n".join(["who,when,eur", *rows]) + "\n", "utf-8")
    columns = '[source.columns]\ncustomer_id = "who"\nevent_time = "when"\namount = "eur"\n'
    toml = tmp_path / "recur.toml"
    toml.write_text(f'[source]\nkind = "csv"\npath = "events.csv"\n{columns}[run]\nfirst_night = 2020-04-01\n', "utf-8")
    return toml


@pytest.mark.parametrize("command", DESIGNED)
def test_every_command_of_the_design_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recur(command, "--help") == 0
    assert f"Usage: recur {command}" in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from pipeline.cli.app import _status; _status(['--help']); heavy = "
        "{'pandas', 'duckdb', 'ibis', 'mlflow', 'tensorflow', 'airflow', 'sqlalchemy', 'pyarrow'}; "
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["query", "select 1", "--format", "xml"], 2, "'xml' is not one of"),
        (["explain"], 2, "Missing argument"),
        (["quarantine"], 2, "Missing command"),
        (["run", "--until", "tomorrow"], 2, "'tomorrow' is not a date"),
        (["--config", "/nowhere.toml", "check"], 2, "/nowhere.toml does not exist"),
        (["query", "select 1"], 1, "there are no predictions yet"),
        (["compare"], 1, "recur train"),
        (["score"], 1, "recur ingest"),
        (["explain", "ann"], 1, "recur run"),
        (["promote"], 1, "no model is registered"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(
    file: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    config = [] if arguments[0] == "--config" else ["--config", str(file)]
    assert recur(*config, *arguments) == status
    complaint = capfd.readouterr().err
    assert complaint.startswith("recur: ")
    assert words in complaint
    assert complaint.count("\n") == 1


def test_an_unknown_key_is_a_mistake_of_configuration(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text("utf-8") + "nights = 3\n", "utf-8")
    assert recur("--config", file, "query", "select 1") == 2
    assert "run.nights: unknown key" in capfd.readouterr().err


def test_ingest_loads_what_is_new_and_then_says_that_there_is_nothing(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert recur("--config", file, "ingest", "--until", "2020-04-02") == 0
    printed = capfd.readouterr().out
    assert "2020-04-01: 11 read, 11 accepted, 0 quarantined, 0 already known" in printed
    assert "2020-04-02: 0 read" in printed
    assert recur("--config", file, "ingest", "--until", "2020-04-02") == 0
    assert "every night up to 2020-04-02 is loaded" in capfd.readouterr().out


def test_a_date_before_the_first_night_is_a_mistake(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert recur("--config", file, "ingest", "--until", "2020-03-01") == 2
    assert "--until 2020-03-01 lies before the first night: choose 2020-04-01 or later" in capfd.readouterr().err


def test_query_writes_csv_json_and_tables(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert recur("--config", file, "ingest", "--until", "2020-04-01") == 0
    sql = "select step, rows_read, message from pipeline_runs order by started_at"
    capfd.readouterr()
    recur("--config", file, "query", sql, "--format", "csv")
    assert list(csv.reader(capfd.readouterr().out.splitlines()))[:2] == [
        ["step", "rows_read", "message"],
        ["extract", "11", ""],
    ]
    recur("--config", file, "query", sql, "--format", "json")
    assert json.loads(capfd.readouterr().out)[0] == {"step": "extract", "rows_read": 11, "message": None}
    recur("--config", file, "query", sql)
    assert capfd.readouterr().out.splitlines()[0].split() == ["step", "rows_read", "message"]
    recur("--config", file, "query")
    assert "churn_probability" in capfd.readouterr().out


def test_an_older_copy_of_the_event_store_is_not_scored(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = open_store(load_settings(file))
    store.write(date(2020, 4, 1), store.schema.empty_table())
    publish_nights(load_settings(file), 1, 3)
    assert recur("--config", file, "score") == 1
    assert "ends with the night 2020-04-01, but nights up to 2024-01-01 were published" in capfd.readouterr().err


def test_a_file_that_cannot_be_opened_is_one_line(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Root may read everything, so a folder stands for what may not be read."""
    for until in ("2020-04-01", "2020-04-02"):
        assert recur("--config", file, "ingest", "--until", until) == 0
    [run] = (file.parent / "var" / "event_ids").glob("*.arrow")
    run.unlink()
    run.mkdir()
    assert recur("--config", file, "ingest", "--until", "2020-04-03") == 1
    [line] = [each for each in capfd.readouterr().err.splitlines() if each.startswith("recur: ")]
    assert line == f"recur: Is a directory: {run}: check that it exists and is yours"


@pytest.mark.parametrize(
    ("seconds", "sql", "words"),
    [
        (
            0.3,
            "select printf('%.*c', 2000000000, 'a')",
            "the SQL cannot be run: a function in it takes longer than 0.3 seconds",
        ),
        (
            60.0,
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) "
            "select i, zeroblob(1000000) from n order by 2, 1",
            "the SQL cannot be run: it takes too much memory",
        ),
    ],
)
def test_a_query_that_sqlite_would_not_end_is_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], seconds: float, sql: str, words: str
) -> None:
    publish_nights(Settings(root=file.parent), 1, 3)
    file.write_text(file.read_text("utf-8") + f"[serving]\nquery_seconds = {seconds}\n", "utf-8")
    monkeypatch.setattr("pipeline.cli.app.GRACE_SECONDS", 0.2)
    monkeypatch.setattr("pipeline.serving.query.HEAP_BYTES", 128 << 20)  # more than this process holds already
    process = multiprocessing.get_context("fork").Process(target=main, args=(["--config", str(file), "query", sql],))
    process.start()
    process.join()
    assert process.exitcode == 2
    assert words in capfd.readouterr().err


def test_compare_prints_the_object_of_the_design_and_every_test_row(
    trained_world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, rows = ["--config", trained_world.settings.file], tmp_path / "rows.parquet"
    assert recur(*config, "compare", "--format", "json", "--predictions", rows) == 0
    comparison = json.loads(capfd.readouterr().out)
    statements = {"verdict", "contribution", "apart"}
    assert set(comparison) == {"question_digest", "test_digest", "windows", "budget", "models", "left_out"} | statements
    assert list(pd.read_parquet(rows).columns) == ["customer_id", "cutoff", "window", "label", "model", "probability"]
    assert recur(*config, "compare") == 0
    printed = capfd.readouterr().out
    assert "logistic_regression" in printed
    assert comparison["verdict"]["sentence"].split()[0] in printed
    assert recur(*config, "compare", "--predictions", tmp_path / "none" / "\0") != 0


def test_check_shows_what_is_right_and_what_is_not(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert recur("--config", file, "check") == 0
    assert "0 wrong" in capfd.readouterr().out
    (file.parent / "events.csv").unlink()
    assert recur("--config", file, "check") == 1
    assert "events.csv" in capfd.readouterr().out


def test_quarantine_is_listed_and_replayed(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events = file.parent / "events.csv"
    events.write_text(events.read_text("utf-8") + "ann,2020-03-30,none\n", "utf-8")
    toml = "[validation]\nmax_quarantined_share = 0.5\n" + file.read_text("utf-8")
    file.write_text(toml, "utf-8")
    assert recur("--config", file, "quarantine", "list") == 0
    assert "Nothing is in quarantine" in capfd.readouterr().out
    assert recur("--config", file, "ingest", "--until", "2020-04-01") == 0
    capfd.readouterr()
    assert recur("--config", file, "quarantine", "list") == 0
    assert "2020-04-01" in capfd.readouterr().out
    assert recur("--config", file, "quarantine", "replay") == 0
    assert "0 rows brought back" in capfd.readouterr().out


def test_a_customer_is_forgotten_once(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert recur("--config", file, "ingest", "--until", "2020-04-01") == 0
    assert recur("--config", file, "forget", "bob") == 0
    assert "customer bob is forgotten: 2 from source, 1 from staged" in capfd.readouterr().out


@pytest.mark.parametrize(
    "raised", [KeyboardInterrupt(), RuntimeError("Query interrupted"), RecurError("the source cannot be read")]
)
def test_ctrl_c_ends_a_command_in_words_whatever_a_library_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, file: Path, capfd: pytest.CaptureFixture[str], raised: BaseException
) -> None:
    def work(*_: object) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        raise raised

    monkeypatch.setattr("pipeline.cli.single_steps.ingest", work)
    assert recur("--config", file, "ingest") == 130
    assert capfd.readouterr().err == "recur: stopped; what was finished is kept, and the next run goes on from there\n"
    monkeypatch.setattr("pipeline.cli.checks.check", work)
    assert recur("--config", file, "check") == 130
    assert capfd.readouterr().err == "recur: stopped; nothing was changed\n"


def test_a_monitor_is_told_when_nothing_was_published_of_late(
    trained_world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(root=tmp_path)
    store = predictions_of(settings)
    with pytest.raises(RecurError, match="no night was ever published"):
        require_published_within(store, 24)
    publish_nights(settings, 1, 5)
    assert "hours ago" in require_published_within(store, 24)
    with store.writing() as connection:
        connection.exec_driver_sql("update night set scored_at = '2020-01-01 00:00:00.000+00:00'")
    with pytest.raises(RecurError, match=r"hours ago, more than 24: see whether the scheduler runs"):
        require_published_within(store, 24)
    assert recur("--config", trained_world.settings.file, "check", "--published-within", "0") == 1
    assert "published" in capfd.readouterr().out
