"""The predictions store and its read-only ways in: schema, views, `query`, Datasette."""

import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.serving import beside, database, datasette
from pipeline.serving import query as queries
from pipeline.serving.database import open_predictions
from pipeline.serving.query import Limits
from pipeline.serving.tables import metadata
from pipeline.serving.views import VIEWS
from tests.support.published import predictions_of, query
from tests.support.worlds.published_world import publish_nights

NIGHT = Night(None, datetime(2017, 12, 4, tzinfo=UTC))
COLUMNS = (
    "customer_id score_date horizon_days churn_probability risk_percentile risk_band risk_change expected_purchases "
    "expected_spend reasons days_since_last_event model_name model_version run_id question_digest scored_at"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(root=tmp_path)
    predictions_of(made).write_quarantine(NIGHT, {"no customer": 3, "amount is no number": 1, "none of these": 0})
    return made


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_the_columns_that_are_described(settings: Settings, name: str) -> None:
    assert query(settings, f"select * from {name}")[0] == list(VIEWS[name].columns)


@pytest.mark.parametrize("name", ["churn_predictions", "prediction_history"])
def test_predictions_have_the_columns_of_the_design(name: str) -> None:
    assert list(VIEWS[name].columns)[: len(COLUMNS.split())] == COLUMNS.split()


def test_a_night_set_aside_again_replaces_its_counts(settings: Settings) -> None:
    predictions_of(settings).write_quarantine(NIGHT, {"no customer": 2})
    assert query(settings, "select * from quarantine_summary")[1] == [("2017-12-04", "no customer", 2)]


def test_a_comparison_made_again_replaces_the_first(settings: Settings) -> None:
    interval = {"value": 0.3, "low": 0.25, "high": None}
    comparison: dict[str, Any] = {
        "question_digest": "0123",
        "test_digest": "4567",
        "verdict": {"decision": "equivalent", "sentence": "They predict alike."},
        "models": [
            {
                "name": name,
                "family": "recurrent",
                "run_id": "abc",
                "fit_seconds": 1.5,
                "predict_customers_per_second": 1000.0,
                "metrics": {"log_loss": interval, "brier": interval},
            }
            for name in ("gru", "lstm")
        ],
    }
    for _ in range(2):
        predictions_of(settings).write_comparison(NIGHT.cutoff, comparison)
    columns = "cutoff, model_name, metric, value, low, high, decision, test_digest"
    rows = query(settings, f"select {columns} from model_comparison order by model_name, metric")[1]
    assert len(rows) == 4
    assert rows[1] == ("2017-12-04", "gru", "log_loss", 0.3, 0.25, None, "equivalent", "4567")


def test_a_view_of_an_earlier_recur_is_made_anew(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("drop view survival_curve")
        connection.exec_driver_sql("create view survival_curve as select 1 as old")
        connection.exec_driver_sql("update schema_version set digest = 'old'")
    database._make_schema(predictions_of(settings).engine())
    assert query(settings, "select * from survival_curve")[0] == list(VIEWS["survival_curve"].columns)
    assert query(settings, "select count(*) from quarantine_summary")[1] == [(2,)]


def test_tables_of_a_later_recur_are_refused(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("update schema_version set version = 99")
    with pytest.raises(RecurError, match=r"has the format 99, of a later recur; this one reads \d+: update recur"):
        database._make_schema(predictions_of(settings).engine())


def test_tables_without_a_version_are_those_of_an_earlier_recur(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("alter table schema_version drop column version")
    database._make_schema(predictions_of(settings).engine())
    with predictions_of(settings).reading() as connection:
        assert database._versions_of(connection)[0] == [database.VERSION]
    assert query(settings, "select count(*) from quarantine_summary")[1] == [(2,)]


@pytest.mark.parametrize(("left", "words"), [(None, "is missing"), (b"", "is empty")])
def test_a_lost_file_is_no_empty_history(settings: Settings, left: bytes | None, words: str) -> None:
    file = predictions_of(settings).file
    beside.note_published(file, "2017-12-04", 1)
    for each in file.parent.glob(f"{file.name}*"):
        if not each.name.endswith(".published"):
            each.unlink()
    if left is not None:
        file.write_bytes(left)
    database._engines.clear()
    message = f"{words}, although nights were published into it, the last 2017-12-04: put it back from a backup"
    with pytest.raises(RecurError, match=message):
        predictions_of(settings).published_nights()
    with pytest.raises(RecurError, match=message):
        query(settings, "select 1")


def test_a_file_that_is_no_database_is_to_be_put_back(settings: Settings) -> None:
    file = predictions_of(settings).file
    for each in file.parent.glob(f"{file.name}-*"):
        each.unlink()
    file.write_bytes(b"<html>502 Bad Gateway</html>" * 100)
    database._engines.clear()
    for read in (lambda: predictions_of(settings).published_nights(), lambda: query(settings, "select 1")):
        with pytest.raises(RecurError, match=r"predictions\.db.* it is damaged: put it back from a backup"):
            read()


def test_an_older_copy_is_not_taken_for_the_present_file(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    publish_nights(settings, 1, 3)
    file, note = predictions_of(settings).file, predictions_of(settings).file.with_name("predictions.db.published")
    older, count = file.read_bytes(), "select count(*) from churn_predictions"
    for present, left in ((lambda: publish_nights(settings, 1, 3), 3), (lambda: _erase(settings), 2)):
        present()  # the same night once more, then without a customer
        assert query(settings, count)[1] == [(left,)]
        latest = file.read_bytes()
        file.write_bytes(older)
        database._engines.clear()
        for use in (lambda: query(settings, count), predictions_of(settings).published_nights):
            with pytest.raises(RecurError, match=r"is an older copy: .* 2024-01-01 was .* remove .* and publish"):
                use()
        file.write_bytes(older := latest)
    file.write_bytes(latest)
    note.unlink()  # the advice
    assert query(settings, count)[1] == [(2,)]


def _erase(settings: Settings) -> None:
    assert predictions_of(settings).erase("c0000001") == 1


def test_a_failed_block_writes_nothing(settings: Settings) -> None:
    def fail_half_way() -> None:
        with predictions_of(settings).writing() as connection:
            connection.exec_driver_sql("delete from quarantine")
            connection.exec_driver_sql("delete from nowhere")

    with pytest.raises(RecurError, match="no such table: nowhere"):
        fail_half_way()
    assert query(settings, "select count(*) from quarantine_summary")[1] == [(2,)]


def test_readers_neither_wait_nor_see_what_is_not_committed(settings: Settings) -> None:
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("delete from quarantine")
        assert query(settings, "select count(*) from quarantine_summary")[1] == [(2,)]


def test_two_writers_take_turns(settings: Settings) -> None:
    def write(number: int) -> None:
        predictions_of(settings).write_quarantine(
            Night(None, datetime(2018, 1, number, tzinfo=UTC)), {"no customer": number}
        )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query(settings, "select count(*) from quarantine_summary where score_date > '2018'")[1] == [(8,)]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "no database address"),
        ("mysql://somebody:hidden@host/x", "cannot hold predictions"),
        ("postgresql://somebody:hidden@host:port/x", "no database address"),
        ("sqlite://", "cannot hold predictions"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_mistake_of_configuration(tmp_path: Path, address: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as raised:
        open_predictions(address, tmp_path)
    assert "hidden" not in str(raised.value)


def test_a_relative_address_is_read_against_the_configuration(tmp_path: Path) -> None:
    open_predictions("sqlite:///mine/here.db", tmp_path).engine()
    assert (tmp_path / "mine" / "here.db").exists()


WRITES = [
    "delete from quarantine",
    "insert into quarantine values ('2017-12-04', 'x', 1)",
    "update quarantine set row_count = 0",
    "insert into quarantine_summary values ('2017-12-04', 'x', 1)",
    "drop view churn_predictions",
    "drop table prediction",
    "create table mine (x)",
    "create temp table mine (x)",
    "attach 'mine.db' as mine",
    "vacuum into 'mine.db'",
    "pragma journal_mode = delete",
    "pragma query_only = off",
    "pragma writable_schema = on",
    "begin immediate",
    "reindex",
    "select 1; delete from quarantine",
]


@pytest.mark.parametrize("sql", WRITES)
def test_writing_is_impossible(settings: Settings, sql: str) -> None:
    before = query(settings, "select * from quarantine_summary order by reason"), sorted(settings.var.iterdir())
    with pytest.raises(ConfigurationError, match="the SQL cannot be run"):
        query(settings, sql)
    after = query(settings, "select * from quarantine_summary order by reason"), sorted(settings.var.iterdir())
    assert after == before


@pytest.mark.parametrize(
    "sql", ["select * from quarantine", "select max(score_date) from night", "select n.* from night n"]
)
def test_tables_are_not_read(settings: Settings, sql: str) -> None:
    with pytest.raises(ConfigurationError, match="only reading the views is allowed"):
        query(settings, sql)


@pytest.mark.parametrize(
    "sql",
    [
        *("", " ; ", "-- nothing", "select", "select * from nowhere", "select nothing from pipeline_runs"),
        *("select cast(x'ff' as text)", "select '\udcff'", "\0", "select ?", "select fts3_tokenizer('simple')"),
    ],
)
def test_sql_that_is_none_is_one_line(settings: Settings, sql: str) -> None:
    with pytest.raises(ConfigurationError, match="recur query") as raised:
        query(settings, sql)
    assert "\n" not in str(raised.value)


def test_common_table_expressions_over_views_are_read(settings: Settings) -> None:
    sql = "with r as (select reason, rows from quarantine_summary) select count(*), sum(rows) from r"
    assert query(settings, sql) == (["count(*)", "sum(rows)"], [(2, 4)])


def test_without_predictions_the_fix_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecurError, match="recur run"):
        query(Settings(root=tmp_path), "select 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", datasette.QUERIES)
def test_the_queries_at_hand_run(settings: Settings, name: str) -> None:
    with predictions_of(settings).reading() as connection:
        sql = datasette.QUERIES[name][2]
        connection.execute(text(sql), dict.fromkeys(re.findall(r":(\w+)", sql), "x")).all()


def test_the_pages_show_the_views_and_hide_the_tables() -> None:
    shown = datasette.metadata("predictions")["databases"]["predictions"]["tables"]
    assert set(shown) == set(VIEWS) | set(metadata.tables)
    assert {name for name, table in shown.items() if table.get("hidden")} == set(metadata.tables)


def test_datasette_reads_what_was_committed_last_and_no_table(settings: Settings) -> None:
    page = "/predictions/quarantine_summary.json?_shape=array"
    command = [*datasette.command(predictions_of(settings), settings.state, 0)]
    with predictions_of(settings).reading() as open_reader:  # keeps the write-ahead log from being folded into the file
        open_reader.execute(text("select count(*) from quarantine")).all()
        predictions_of(settings).write_quarantine(NIGHT, {"newest": 9})
        served = subprocess.run([*command, "--get", page], capture_output=True, text=True, check=True)
        assert '"newest"' in served.stdout
    refused = subprocess.run(
        [*command, "--get", "/predictions/quarantine"], capture_output=True, text=True, check=False
    )
    assert "Forbidden" in refused.stdout
    with sqlite3.connect(settings.var / "predictions.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) "


@pytest.mark.parametrize("sql", ["select count(*) from n", "select i from n where i < 0", "select sum(i) from n"])
def test_sql_without_end_is_stopped(settings: Settings, sql: str) -> None:
    with pytest.raises(ConfigurationError, match=r"longer than 0\.3 seconds"):
        queries.query(predictions_of(settings), ENDLESS + sql, Limits(seconds=0.3))


def test_what_a_query_gives_has_an_end(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="more than 1,500 rows"):
        queries.query(predictions_of(settings), ENDLESS + "select * from n", Limits(rows=1500))
    sql = "select hex(randomblob(10000)) from n"
    with pytest.raises(ConfigurationError, match="more than 8 MiB"):
        queries.query(predictions_of(settings), ENDLESS + sql, Limits(bytes=8 << 20))
    for long in ("zeroblob(1000000000)", "replace(hex(zeroblob(10000)), '0', hex(zeroblob(9000)))"):
        with pytest.raises(ConfigurationError, match="too big"):
            query(settings, f"select length({long})")


@pytest.mark.usefixtures("interruptible")
def test_sql_without_end_is_interrupted(settings: Settings) -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        query(settings, ENDLESS + "select count(*) from n")
    assert time.monotonic() - began < 10
