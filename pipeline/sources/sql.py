"""A table or view of a database as a source. Its rows are synced in batches into Parquet files under `paths.var`, on
from the largest value so far of the column `incremental_by`, less an overlap in which rows may still arrive; from there
the nights are taken as from files.

Every file is whole or absent and bears its watermark, so that a sync that breaks off goes on from there.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import URL, Engine, column, create_engine, inspect, make_url, or_, select, table
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.config.source import Source
from pipeline.runtime.described import described, require_listed, whole
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed
from pipeline.runtime.suppression import Suppression
from pipeline.sources.columns.described import SourceValues
from pipeline.sources.columns.ids import read_id
from pipeline.sources.columns.located import nearest
from pipeline.sources.contract import Kind, Span
from pipeline.sources.files import Files, attributes_of
from pipeline.sources.inputs import Input, name_within

BATCH = 100_000
INCREMENT = "incremental_by"
LIST, FORMAT = "reaches.json", 1
WAY_BACK = (
    "put it back from a backup, or remove the folders pulled and source below paths.var: the table is read anew then, "
    "and what it sent late since the last night is left out"
)
WATERMARK = b"recur.reach"  # of a file: the largest value of the column `incremental_by` up to it, as JSON

Row = tuple[str | None, ...]


class Sql:
    """The table `[source] table` at `[addresses] source`. Only `span` and `extract` need the database, so that what
    needs only the attributes works while it is away.
    """

    def __init__(self, source: Source, state: StateFolder, root: Path, address: Callable[[], str]) -> None:
        """`root` is the project's folder; `address` returns the database's SQLAlchemy address."""
        self._source, self._state, self._root, self._address = source, state, root, address
        self._files: Files | None = None

    def attributes(self) -> dict[str, Kind]:
        return attributes_of(self._source)

    def span(self) -> Span:
        return self._synced().span()

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        return self._synced().extract(night, path, again)

    def restated(self, night: Night) -> int:
        return self._synced().restated(night)

    def values(self) -> SourceValues:
        return self._synced().values()

    def _synced(self) -> Files:
        """All that the database holds by now, synced once by each source object."""
        if self._files is None:
            url = _url(self._address(), self._root)
            with self._state.alone("pull"):
                self._require_kept(self._folder(url))
                files = self._sync(url)
            if not files:
                raise RecurError(
                    f"{self._table(url)} holds no row: set source.table to the table that holds your events"
                )
            mapped = {name: name for name in self._source.names}
            # What was synced never changes, save where a customer is erased from it.
            inputs = [Input(str(file), file.name, "pulled", "parquet", mapped) for file in files]
            self._files = Files(self._source, self._state, lambda: inputs)
        return self._files

    def _require_kept(self, folder: Path) -> None:
        """Raises RecurError where rows were taken from `folder`, and it has none."""
        if not any(folder.glob("*.parquet")) and Files(self._source, self._state, list).was_read:
            raise RecurError(
                f"{folder} has none of the rows that were synced: if the database has another address now, rename the "
                f"folder beside it to this one; else {WAY_BACK}"
            )

    def _sync(self, url: URL) -> list[Path]:
        """Syncs what is new and returns the files of all rows."""
        engine = _engine(url)
        increment = [INCREMENT] if self._source.incremental_by is not None else []
        names = [*self._source.names, *increment]
        synced = SyncedRows(
            self._folder(url), names, Suppression(self._state).names, partial(read_id, source=self._source)
        )
        watermark = synced.watermark
        low = None if watermark is None else _less_overlap(watermark, self._source.overlap)
        try:
            statement = self._statement(engine, low)
            earlier = synced.rows_from(low)
            with engine.connect() as connection:
                streamed = connection.execution_options(stream_results=True, yield_per=BATCH).execute(statement)
                for batch in streamed.partitions(BATCH):
                    synced.add([tuple(row) for row in batch], earlier)
            synced.write_watermarks()
        except NoSuchTableError:
            raise ConfigurationError(f"source.table: there is no {self._table(url)}") from None
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise RecurError(
                f"{self._table(url)} cannot be read: {reason}: the rows read so far are kept, and the next run "
                "goes on from them"
            ) from None
        return synced.files()

    def _statement(self, engine: Engine, low: Any) -> Any:
        *schema, name = str(self._source.table).rsplit(".", 1)
        columns = [info["name"] for info in inspect(engine).get_columns(name, schema=schema[0] if schema else None)]
        mapped = {f"source.columns.{key}": of_source for key, of_source in self._source.columns.items()}
        if self._source.incremental_by is not None:
            mapped["source.incremental_by"] = self._source.incremental_by
        for key, of_source in mapped.items():
            if of_source not in columns:
                raise ConfigurationError(
                    f"{key} is {of_source!r}, which {self._table(engine.url)} has not: "
                    + nearest(str(of_source), columns)
                    + ("; a view can give what is within JSON" if "." in of_source else "")
                )
        rows = table(name, *map(column, columns), schema=schema[0] if schema else None)
        selected = [rows.c[str(self._source.columns[key])] for key in self._source.names]
        if self._source.incremental_by is None:
            return select(*selected)
        increment = rows.c[self._source.incremental_by]
        statement = select(*selected, increment.label(INCREMENT)).order_by(increment)
        return statement if low is None else statement.where(or_(increment >= low, increment.is_(None)))

    def _folder(self, url: URL) -> Path:
        if url.get_backend_name() == "sqlite" and url.database:  # a file, and the project may move
            url = url.set(database=name_within(self._root, url.database))
        key: list[Any] = [self._table(url), self._source.columns, self._source.incremental_by]
        key += [name for name in ("fold_case", "strip_zeros") if getattr(self._source, name)]
        return self._state.path / "pulled" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def _table(self, url: URL) -> str:
        """The table and its database, without a password."""
        return f"table {self._source.table} of {url.render_as_string(hide_password=True)}"


class SyncedRows:
    """The rows that were synced from one table, as text, in files of a folder. Each file has a watermark: the largest
    value of `incremental_by` up to it, None where there is no such column.
    """

    def __init__(
        self,
        folder: Path,
        names: list[str],
        is_suppressed: Callable[[str | None], bool],
        read_id: Callable[[str], str] = str,
    ) -> None:
        """`names` are the columns; `read_id` reads a customer's id; rows of whom `is_suppressed` names are left out.
        Watermarks are read from the list that the last sync left, and only those that it had not come to list from
        their files: so no night opens all files of those before.
        """
        self._folder, self._names, self._is_suppressed, self._read_id = folder, names, is_suppressed, read_id
        require_listed(folder, WAY_BACK)
        stored: dict[str, Any] = {}
        with suppress(FileNotFoundError, DamagedError):  # they are read from the files then
            stored = read_sealed(folder / LIST, FORMAT)
        self._watermarks: dict[str, Any] = {
            file.name: _from_json(stored[file.name]) if file.name in stored else _watermark_of(file)
            for file in self.files()
        }

    def files(self) -> list[Path]:
        return sorted(self._folder.glob("????????.parquet"))

    @property
    def watermark(self) -> Any:
        """The largest watermark; None where there is none."""
        return max((value for value in self._watermarks.values() if value is not None), default=None)

    def rows_from(self, low: Any) -> Counter[Row]:
        """The rows that may come again: those of files with a watermark from `low` on; without a watermark, all."""
        rows: Counter[Row] = Counter()
        for name, watermark in self._watermarks.items():
            if low is None or watermark is None or watermark >= low:
                file = pq.read_table(whole(self._folder, name, WAY_BACK))
                rows.update(zip(*(values.to_pylist() for values in file.columns), strict=True))
        return rows

    def add(self, rows: list[tuple[Any, ...]], earlier: Counter[Row]) -> None:
        """Writes the rows that no earlier sync brought, in a file of their own. A row that equals an earlier one,
        `incremental_by` included, is the earlier one as often as that was synced.
        """
        fresh, customer = [], self._names.index("customer_id")
        for row in rows:
            texts = tuple(_text(value) for value in row)
            if (name := texts[customer]) is not None:
                texts = (*texts[:customer], self._read_id(name), *texts[customer + 1 :])
            if self._is_suppressed(texts[customer]):
                continue
            if earlier[texts] > 0:
                earlier[texts] -= 1
            else:
                fresh.append(texts)
        if not fresh:
            return
        values = [row[-1] for row in rows if row[-1] is not None] if self._names[-1] == INCREMENT else []
        watermark = max(values) if values else self.watermark
        columns = [pa.array(texts, pa.string()) for texts in zip(*fresh, strict=True)]
        batch = pa.table(columns, names=self._names).replace_schema_metadata({WATERMARK: _to_json(watermark)})
        name = f"{len(self._watermarks):08d}.parquet"
        with described(self._folder, name) as file:
            pq.write_table(batch, file)
        self._watermarks[name] = watermark

    def write_watermarks(self) -> None:
        content = {name: _to_json(value) for name, value in self._watermarks.items()}
        write_sealed(self._folder / LIST, content, FORMAT)


def _url(address: str, root: Path) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "addresses.source is no database address: write sqlite:////folder/shop.db or "
            "postgresql://user:password@host/database"
        ) from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(database=str((root / url.database).resolve()))
    return url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise RecurError(f"{url.database} does not exist: set addresses.source to the database of your events")
    return create_engine(url, poolclass=NullPool)


def _less_overlap(watermark: Any, overlap: float) -> Any:
    """`watermark` less the overlap: days for a time, itself for a number."""
    if isinstance(watermark, date):  # a datetime too
        return watermark - timedelta(days=overlap)
    if isinstance(watermark, str):  # a time as SQLite keeps it
        try:
            earlier = datetime.fromisoformat(watermark) - timedelta(days=overlap)
        except ValueError:
            raise ConfigurationError(
                f"source.incremental_by holds {watermark!r}, neither a time nor a number"
            ) from None
        return earlier.isoformat("T" if "T" in watermark else " ")
    return watermark - int(overlap)


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


def _to_json(watermark: Any) -> str:
    if isinstance(watermark, datetime):
        return json.dumps({"time": watermark.isoformat()})
    if isinstance(watermark, date):
        return json.dumps({"day": watermark.isoformat()})
    return json.dumps(int(watermark) if isinstance(watermark, Decimal) else watermark)


def _watermark_of(file: Path) -> Any:
    return _from_json((pq.read_metadata(file).metadata or {}).get(WATERMARK, b"null"))


def _from_json(text: str | bytes) -> Any:
    content = json.loads(text)
    if isinstance(content, dict):
        return datetime.fromisoformat(content["time"]) if "time" in content else date.fromisoformat(content["day"])
    return content
