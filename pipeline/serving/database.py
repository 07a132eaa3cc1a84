"""The predictions store: one SQLAlchemy address, SQLite in WAL mode or PostgreSQL, with its tables and views made once.

`PredictionsStore.reading` and `.writing` are the only ways in. A writer on SQLite takes the lock when it begins, so
that it waits for another writer instead of failing half-way; readers see the last commit and wait for nobody.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import ConfigurationError, RecurError, way_out
from pipeline.runtime.nights import Night
from pipeline.serving import tables
from pipeline.serving.beside import note_published, number_publication, publications, require_kept, require_latest
from pipeline.serving.night_digests import note_digests
from pipeline.serving.reader_role import grant_to_readers
from pipeline.serving.views import VIEWS, digest

BUSY_SECONDS = 60
VERSION = 3  # of the tables, which the next recur may migrate and an earlier one refuses
FORGOTTEN = "named a customer who was forgotten since"
_ADVISORY_LOCK = 7_261_378
_FIX = "check addresses.predictions and paths.var in recur.toml"
_engines: dict[str, Engine] = {}


@dataclass(frozen=True)
class PredictionsStore:
    """The store at one address. What the database refuses is a RecurError of one line, which shows no password."""

    address: URL

    def __str__(self) -> str:
        """The address without its password."""
        return self.address.render_as_string(hide_password=True)

    @property
    def on_postgresql(self) -> bool:
        return self.address.get_backend_name() == "postgresql"

    @property
    def file(self) -> Path:
        """Of a store on SQLite."""
        return Path(str(self.address.database))

    def engine(self) -> Engine:
        """One engine an address and process, with every table and view in place."""
        key = self.address.render_as_string(hide_password=False)
        if key not in _engines:
            if self.on_postgresql:
                made = create_engine(self.address, poolclass=NullPool, connect_args={"connect_timeout": 10})
            else:
                require_kept(self.file)
                made = _sqlite(self.address)
            with self._in_words(made):
                _make_schema(made)
                if not self.on_postgresql:
                    require_latest(self.file, lambda: _publications(made))
            _engines[key] = made
        return _engines[key]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the store throughout, and keeps nothing."""
        engine = self.engine()
        with self._in_words(engine), engine.connect() as connection:
            if self.on_postgresql:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of the block is kept, or, where it raises, none."""
        engine = self.engine()
        with self._in_words(engine), _writer(engine) as connection:
            yield connection

    def published_nights(self) -> list[date]:
        """The score dates of every published night, ascending."""
        with self.reading() as connection:
            return list(connection.scalars(select(tables.night.c.score_date).order_by(tables.night.c.score_date)))

    def note_published(self) -> None:
        """Notes beside an SQLite file which night is its latest, after how many publications; PostgreSQL does not lose
        a file.
        """
        if not self.on_postgresql and (latest := self.last_published()):
            note_published(self.file, latest[0].isoformat(), _publications(self.engine()))

    def last_published(self) -> tuple[date, str, str] | None:
        """The latest published night with the name and the version of the model that scored it; None before one."""
        columns = tables.night.c
        latest = select(columns.score_date, columns.model_name, columns.model_version)
        with self.reading() as connection:
            row = connection.execute(latest.order_by(columns.score_date.desc()).limit(1)).first()
        return None if row is None else (row[0], row[1], row[2])

    def write_quarantine(self, night: Night, counts: Mapping[str, int]) -> None:
        """The quarantined rows of `night` by reason, in the place of those of an earlier run of that night."""
        rows = [
            {"score_date": night.score_date, "reason": reason, "row_count": int(count)}
            for reason, count in sorted(counts.items())
            if count
        ]
        with self.writing() as connection:
            connection.execute(delete(tables.quarantine).where(tables.quarantine.c.score_date == night.score_date))
            if rows:
                connection.execute(insert(tables.quarantine), rows)

    def write_comparison(self, cutoff: datetime, comparison: Mapping[str, Any]) -> None:
        """The comparison made at `cutoff`, as `recur compare --format json` prints it, in place of an earlier one."""
        day = cutoff.date()
        rows = [
            {
                "cutoff": day,
                "model_name": model["name"],
                "metric": metric,
                **{key: model[key] for key in ("family", "run_id", "fit_seconds", "predict_customers_per_second")},
                **{end: interval[end] for end in ("value", "low", "high")},
            }
            for model in comparison["models"]
            for metric, interval in model["metrics"].items()
        ]
        with self.writing() as connection:
            connection.execute(delete(tables.comparison).where(tables.comparison.c.cutoff == day))
            connection.execute(
                insert(tables.comparison).values(
                    cutoff=day,
                    question_digest=comparison["question_digest"],
                    test_digest=comparison["test_digest"],
                    decision=comparison["verdict"]["decision"],
                    verdict=comparison["verdict"]["sentence"],
                    compared_at=datetime.now(UTC),
                )
            )
            connection.execute(insert(tables.comparison_metric), rows)

    def erase(self, customer_id: str) -> int:
        """Removes every prediction of `customer_id`; returns how many there were. Then rewrites the whole table, since
        its free pages may still hold older rows, and on SQLite empties the write-ahead log. PostgreSQL's own log and
        backups are its administrator's. Raises RecurError where a reader holds on to an earlier state.
        """
        with self.writing() as connection:
            of_customer = tables.prediction.c.customer_id == customer_id
            nights = connection.scalars(select(tables.prediction.c.score_date).where(of_customer).distinct()).all()
            rows = connection.execute(delete(tables.prediction).where(of_customer)).rowcount
            note_digests(connection, nights)
            number_publication(connection)  # an older copy still holds the customer
            message = tables.step_run.c.message
            naming = [each for each in connection.scalars(select(message).distinct()) if _names(each, customer_id)]
            connection.execute(update(tables.step_run).where(message.in_(naming)).values(message=FORGOTTEN))
        engine = self.engine()
        if self.on_postgresql:
            autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
            with self._in_words(engine), autocommit.connect() as connection:
                connection.exec_driver_sql("VACUUM FULL prediction")
            return rows
        with self._in_words(engine), engine.connect().execution_options(recur_autocommit=True) as connection:
            connection.exec_driver_sql("VACUUM")
            [(busy, *_)] = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.note_published()
        if busy:
            raise RecurError(f"a reader of {self} still holds an earlier state: close what reads it, and do this again")
        return rows

    @contextmanager
    def _in_words(self, engine: Engine) -> Iterator[None]:
        """Errors of the database as one line. `bulk` calls the driver itself, whose errors arrive as they are."""
        try:
            yield
        except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())
            raise RecurError(
                f"the predictions database {self} cannot be used: {reason}: {way_out(reason, _FIX)}"
            ) from error


def open_predictions(address: str, root: Path) -> PredictionsStore:
    """The store at `address`, its driver named and a relative SQLite path read against `root`; nothing is connected
    yet. Raises ConfigurationError, which shows no password.
    """
    fix = "write sqlite:////folder/predictions.db or postgresql+psycopg://user:password@host/database"
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"addresses.predictions is no database address: {fix}") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return PredictionsStore(url.set(drivername="postgresql+psycopg"))
    if backend != "sqlite" or url.database in (None, "", ":memory:"):
        raise ConfigurationError(f"addresses.predictions: {PredictionsStore(url)} cannot hold predictions: {fix}")
    return PredictionsStore(url.set(database=str((root / str(url.database)).resolve())))


def _names(message: str | None, customer_id: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(customer_id)}(?!\w)", message or "") is not None


@contextmanager
def _writer(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(recur_writes=True) as connection, connection.begin():
        yield connection


def _sqlite(address: URL) -> Engine:
    path = Path(str(address.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecurError(f"the folder {path.parent} cannot be made: {error.strerror}: {_FIX}") from None
    # Without a pool no connection outlives its block, so none is carried over a fork into an Airflow task.
    made = create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(made, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own: the listener below does
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")  # KiB: the indexes' pages that a night's insert touches

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("recur_autocommit"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("recur_writes") else "BEGIN")

    return made


def _make_schema(engine: Engine) -> None:
    """Every table and view, and on PostgreSQL their comments, unless the store holds just these already."""
    current = digest()
    with engine.connect() as connection:
        if inspect(connection).has_table("schema_version"):
            versions, digests = _versions_of(connection)
            if max(versions, default=0) > VERSION:
                raise RecurError(
                    f"the predictions database {engine.url.render_as_string()} has the format {max(versions)}, of a "
                    f"later recur; this one reads {VERSION}: update recur"
                )
            if digests == [current] and versions == [VERSION]:
                return
    with _writer(engine) as connection:
        postgresql = connection.dialect.name == "postgresql"
        if postgresql:
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        _add_columns_to_an_earlier_recurs(connection)
        tables.metadata.create_all(connection)
        _count_bands_of_an_earlier_recur(connection)
        for name in VIEWS:
            connection.exec_driver_sql(f"drop view if exists {name}")
        for name, view in VIEWS.items():
            connection.exec_driver_sql(f"create view {name} as {view.sql.strip()}")
            if postgresql:
                _comment(connection, f"view {name}", view.description)
                for column, meaning in view.columns.items():
                    _comment(connection, f"column {name}.{column}", meaning)
        if postgresql:
            grant_to_readers(connection, VIEWS)
        connection.execute(delete(tables.schema_version))
        connection.execute(insert(tables.schema_version).values(digest=current, version=VERSION))


def _publications(engine: Engine) -> int:
    with engine.connect() as connection:
        return publications(connection)


def _versions_of(connection: Connection) -> tuple[list[int], list[str]]:
    """Of the store's tables, and the digests of its views; one that an earlier recur made says no version."""
    columns = {column["name"] for column in inspect(connection).get_columns("schema_version")}
    versions: list[int] = []
    if "version" in columns:
        versions = [int(each or 0) for each in connection.scalars(select(tables.schema_version.c.version))]
    return versions, list(connection.scalars(select(tables.schema_version.c.digest)))


def _add_columns_to_an_earlier_recurs(connection: Connection) -> None:
    """Columns that tables have gained since they were made; all of these may be null."""
    database = inspect(connection)
    for table in tables.metadata.sorted_tables:
        if not database.has_table(table.name):
            continue
        existing = {column["name"] for column in database.get_columns(table.name)}
        for column in table.columns:
            if column.name not in existing:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f"alter table {table.name} add column {column.name} {kind}")


def _count_bands_of_an_earlier_recur(connection: Connection) -> None:
    """The risk bands of nights that were published before they were counted at once."""
    columns, probability = tables.prediction.c, tables.prediction.c.churn_probability
    key = (columns.score_date, columns.horizon_days, columns.risk_band)
    values = (func.count(), func.avg(probability), func.min(probability), func.max(probability))
    counted = select(*key, *values).where(columns.score_date.not_in(select(tables.band.c.score_date))).group_by(*key)
    connection.execute(insert(tables.band).from_select([column.name for column in tables.band.columns], counted))


def _comment(connection: Connection, of: str, words: str) -> None:
    connection.exec_driver_sql(f"comment on {of} is {literal(words).replace('%', '%%')}")
