"""A database table as a source: every row comes once and in order, and an error names what is missing."""

import sqlite3

import pandas as pd
import pytest

from pipeline.cli.forget import forget
from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources import sql
from pipeline.sources.factory import open_source
from tests.support.worlds.csv_nights import day, ingest, last_closed

TOML = """
[source]
kind = "sql"
table = "orders"
incremental_by = "{by}"
overlap = {overlap}
[source.columns]
event_id = "id"
customer_id = "who"
event_time = "at"
amount = "eur"
[addresses]
source = "sqlite:///shop.db"
"""
ROWS = [(1, "a", "2020-01-01 10:00:00", 5.5), (2, "b", "2020-01-01 11:00:00", None), (3, "a", "2020-01-02 09:00:00", 7)]


def shop(folder, rows=ROWS, by="id", overlap=1) -> Settings:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("create table orders (id integer, who text, at datetime, eur real)")
    connection.close()
    add(folder, rows)
    (folder / "recur.toml").write_text(TOML.format(by=by, overlap=overlap))
    return load_settings(folder / "recur.toml")


def add(folder, rows) -> None:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.executemany("insert into orders values (?, ?, ?, ?)", rows)
    connection.close()


@pytest.mark.parametrize(("by", "overlap"), [("id", 0), ("id", 100), ("at", 0), ("at", 3)])
def test_every_row_comes_once(tmp_path, by, overlap, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", 2)
    settings = shop(tmp_path, by=by, overlap=overlap)
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 2
    add(tmp_path, [(4, "b", "2020-01-02 10:00:00", 1), (5, "z", "2020-01-09 00:00:00", 1)])
    assert ingest(settings, "2020-01-03") == {
        "rows_read": 2,
        "rows_accepted": 2,
        "rows_quarantined": 0,
        "rows_already_known": 0,
    }
    assert last_closed(settings) == day("2020-01-09")


def test_a_project_that_moved_syncs_nothing_again(tmp_path):
    (tmp_path / "here").mkdir()
    ingest(shop(tmp_path / "here"), "2020-01-02")
    (tmp_path / "here").rename(tmp_path / "there")
    add(tmp_path / "there", [(4, "z", "2020-01-09 00:00:00", 1)])
    settings = load_settings(tmp_path / "there" / "recur.toml")
    assert ingest(settings, "2020-01-03")["rows_read"] == 1
    assert sum(len(pd.read_parquet(file)) for file in settings.var.glob("pulled/*/*.parquet")) == 4


def test_without_a_column_to_go_by_the_whole_table_is_read_again(tmp_path):
    shop(tmp_path)
    file = tmp_path / "recur.toml"
    file.write_text(file.read_text().replace('incremental_by = "id"', ""))
    settings = load_settings(file)
    assert last_closed(settings) == day("2020-01-02")
    add(tmp_path, [ROWS[0], (4, "z", "2020-01-03 10:00:00", 1)])
    assert ingest(settings, "2020-01-02")["rows_already_known"] == 1
    assert ingest(settings, "2020-01-03")["rows_read"] == 1


def test_a_row_that_commits_late_comes_within_the_overlap(tmp_path):
    settings = shop(tmp_path, [*ROWS, (9, "z", "2020-01-03 10:00:00", 1)], overlap=3)
    assert last_closed(settings) == day("2020-01-03")
    add(tmp_path, [(7, "late", "2020-01-02 10:00:00", 2), (3, "before", "2020-01-02 10:00:00", 2)])
    assert ingest(settings, "2020-01-03")["rows_read"] == 4


def test_a_sync_that_breaks_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", 1)
    settings = shop(tmp_path, [*ROWS, (4, "z", "2020-01-05 10:00:00", 1)], overlap=0)
    kept, add = [], sql.SyncedRows.add

    def broken(self, rows, earlier):
        add(self, rows, earlier)
        kept.extend(rows)
        if len(kept) == 2:
            raise sql.SQLAlchemyError("the server went away")

    monkeypatch.setattr(sql.SyncedRows, "add", broken)
    with pytest.raises(RecurError, match="the server went away: the rows read so far are kept"):
        open_source(settings).span()
    assert open_source(settings).span()[1] == day("2020-01-05")
    assert [row[0] for row in kept] == [1, 2, 2, 3, 4]
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 3


def test_a_forgotten_customer_is_no_longer_among_the_synced_rows(tmp_path):
    settings = shop(tmp_path, [*ROWS, (4, "z", "2020-01-05 10:00:00", 1)])
    ingest(settings, "2020-01-03")
    assert forget(settings, "a")["pulled"] == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"orders"', '"order"', "source.table: there is no table order of sqlite"),
        ('"eur"', '"usd"', "source.columns.amount is 'usd', which table orders .* has not: it has id, who, at, eur"),
        ('_by = "id"', '_by = "seq"', "source.incremental_by is 'seq'"),
        ("shop.db", "store.db", "store.db does not exist: set addresses.source"),
        ("[addresses]\nsource", "[models]\nmax_epochs = 1\n#", "addresses.source is missing"),
        ('table = "orders"\n', "", 'kind = "sql" needs table'),
    ],
)
def test_what_is_missing_is_named(tmp_path, old, new, words):
    shop(tmp_path)
    file = tmp_path / "recur.toml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises((ConfigurationError, RecurError), match=words):
        last_closed(load_settings(file))
