"""A table or view of a database as a source. Its rows are pulled in batches into Parquet files under `paths.var`, on
from the largest value pulled so far of the column `incremental_by`, less an overlap in which rows may still arrive;
from there the nights are taken as from files.

Every file is whole or absent and bears how far it reaches, so that a pull that breaks off goes on from there.
"""

import hashlib
import json
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import URL, Engine, column, create_engine, inspect, make_url, or_, select, table
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import atomically
from pipeline.sources.contract import Kind
from pipeline.sources.files import Files, attributes_of
from pipeline.sources.inputs import Input, name_of

BATCH = 100_000
INCREMENT = "incremental_by"
REACH = b"recur.reach"  # of a file: the largest value of the column `incremental_by` pulled with it, as JSON

Row = tuple[str | None, ...]


class Sql:
    """The table `[source] table` at `[addresses] source`. The database is asked by `span` and `extract` alone, so that
    what needs only the attributes works while it is away.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._source = settings, settings.source
        self._files: Files | None = None
        self._reaches: dict[str, Any] = {}  # by the name of a part

    def attributes(self) -> dict[str, Kind]:
        return attributes_of(self._source)

    def span(self) -> tuple[datetime, datetime]:
        return self._pulled().span()

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        return self._pulled().extract(night, path, again)

    def _pulled(self) -> Files:
        """All that the database holds by now, pulled once by each source object."""
        if self._files is None:
            with self._settings.state.alone("pull"):
                self._pull()
            mapped = {name: name for name in self._source.names}
            # What was pulled never changes, save where a customer is erased from it.
            inputs = [Input(str(part), part.name, "pulled", "parquet", mapped) for part in self._parts()]
            if not inputs:
                raise RecurError(f"{self._where()} holds no row: set source.table to the table that holds your events")
            self._files = Files(self._settings, inputs)
        return self._files

    def _pull(self) -> None:
        engine = _engine(self._settings)
        self._recall()
        reach = self._reach()
        low = None if reach is None else _less(reach, self._source.overlap)
        try:
            statement = self._statement(engine, low)
            known = self._known_from(low)
            with engine.connect() as connection:
                streamed = connection.execution_options(stream_results=True, yield_per=BATCH).execute(statement)
                for batch in streamed.partitions(BATCH):
                    self._keep([tuple(row) for row in batch], known)
            self._note()
        except NoSuchTableError:
            raise ConfigurationError(f"source.table: there is no {self._where()}") from None
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise RecurError(
                f"{self._where()} cannot be read: {reason}: what was pulled is kept, and the next run goes on from it"
            ) from None

    def _statement(self, engine: Engine, low: Any) -> Any:
        *schema, name = str(self._source.table).rsplit(".", 1)
        there = [one["name"] for one in inspect(engine).get_columns(name, schema=schema[0] if schema else None)]
        wanted = self._source.columns | (
            {INCREMENT: self._source.incremental_by} if self._source.incremental_by else {}
        )
        for key, of_source in wanted.items():
            if of_source not in there:
                place = "source.incremental_by" if key == INCREMENT else f"source.columns.{key}"
                raise ConfigurationError(
                    f"{place} is {of_source!r}, which {self._where()} has not: it has {', '.join(there)}"
                )
        rows = table(name, *(column(one) for one in there), schema=schema[0] if schema else None)
        chosen = [rows.c[self._source.columns[key]] for key in self._source.names]
        if self._source.incremental_by is None:
            return select(*chosen)
        increment = rows.c[self._source.incremental_by]
        statement = select(*chosen, increment.label(INCREMENT)).order_by(increment)
        return statement if low is None else statement.where(or_(increment >= low, increment.is_(None)))

    def _keep(self, rows: list[tuple[Any, ...]], known: Counter[Row]) -> None:
        """Writes the rows that no earlier pull brought, in a file of their own. Rows that say the same as an earlier
        one, `incremental_by` included, are the earlier one as often as it was pulled.
        """
        fresh = []
        for row in rows:
            texts = tuple(_text(value) for value in row)
            if known[texts] > 0:
                known[texts] -= 1
            else:
                fresh.append(texts)
        if not fresh:
            return
        names = [*self._source.names, *([INCREMENT] if self._source.incremental_by else [])]
        columns = [pa.array(values, pa.string()) for values in zip(*fresh, strict=True)]
        reaches = [row[-1] for row in rows if row[-1] is not None] if self._source.incremental_by else []
        before = self._reach()
        reach = max(reaches) if reaches else before
        made = pa.table(columns, names=names).replace_schema_metadata({REACH: _to_json(reach)})
        name = f"{len(self._reaches):08d}.parquet"
        with atomically(self._folder() / name) as file:
            pq.write_table(made, file)
        self._reaches[name] = reach

    def _known_from(self, low: Any) -> Counter[Row]:
        """The rows of earlier pulls that may come again: those of files that reach to `low`, or, without a column to
        go by, all.
        """
        known: Counter[Row] = Counter()
        for name, reach in self._reaches.items():
            if low is None or reach is None or reach >= low:
                part = pq.read_table(self._folder() / name)
                known.update(zip(*(one.to_pylist() for one in part.columns), strict=True))
        return known

    def _reach(self) -> Any:
        """How far the files reach; None where there is none or nothing to go by."""
        return max((reach for reach in self._reaches.values() if reach is not None), default=None)

    def _recall(self) -> None:
        """Learns how far each part reaches: from the list that the last pull left, and from the parts that it had not
        come to list. So no night opens all parts of those before.
        """
        listed = self._folder() / "reaches.json"
        told = json.loads(listed.read_text("utf-8")) if listed.exists() else {}
        for part in self._parts():
            said = told.get(part.name)
            self._reaches[part.name] = _reach_of(part) if said is None else _from_json(said)

    def _note(self) -> None:
        with atomically(self._folder() / "reaches.json") as file:
            file.write_text(json.dumps({name: _to_json(reach) for name, reach in self._reaches.items()}), "utf-8")

    def _parts(self) -> list[Path]:
        return sorted(self._folder().glob("????????.parquet"))

    def _folder(self) -> Path:
        where = _address(self._settings)
        if where.get_backend_name() == "sqlite" and where.database:  # a file, and the project may move
            where = where.set(database=name_of(self._settings, where.database))
        said = [self._table(where), self._source.columns, self._source.incremental_by]
        return self._settings.var / "pulled" / hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def _where(self) -> str:
        """The table and its database, without a password."""
        return self._table(_address(self._settings))

    def _table(self, database: URL) -> str:
        return f"table {self._source.table} of {database.render_as_string(hide_password=True)}"


def _address(settings: Settings) -> URL:
    try:
        address = make_url(settings.source_address)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "addresses.source is no database address: write sqlite:////folder/shop.db or "
            "postgresql://user:password@host/database"
        ) from None
    if address.get_backend_name() == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() == "sqlite" and address.database:
        return address.set(database=str((settings.root / address.database).resolve()))
    return address


def _engine(settings: Settings) -> Engine:
    address = _address(settings)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).is_file():
        raise RecurError(f"{address.database} does not exist: set addresses.source to the database of your events")
    return create_engine(address, poolclass=NullPool)


def _less(reach: Any, overlap: float) -> Any:
    """`reach` less the overlap: days for a time, itself for a number."""
    if isinstance(reach, date):  # a datetime too
        return reach - timedelta(days=overlap)
    if isinstance(reach, str):  # a time as SQLite keeps it
        try:
            earlier = datetime.fromisoformat(reach) - timedelta(days=overlap)
        except ValueError:
            raise ConfigurationError(f"source.incremental_by holds {reach!r}, neither a time nor a number") from None
        return earlier.isoformat("T" if "T" in reach else " ")
    return reach - int(overlap)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _to_json(reach: Any) -> str:
    if isinstance(reach, datetime):
        return json.dumps({"time": reach.isoformat()})
    if isinstance(reach, date):
        return json.dumps({"day": reach.isoformat()})
    return json.dumps(int(reach) if isinstance(reach, Decimal) else reach)


def _reach_of(part: Path) -> Any:
    return _from_json((pq.read_metadata(part).metadata or {}).get(REACH, b"null"))


def _from_json(text: str | bytes) -> Any:
    content = json.loads(text)
    if isinstance(content, dict):
        return datetime.fromisoformat(content["time"]) if "time" in content else date.fromisoformat(content["day"])
    return content
