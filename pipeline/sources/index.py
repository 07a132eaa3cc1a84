"""The index of a source in files: every row once, as mapped text beside the instant that decides its night.

It grows with the source and is never made anew: each look at the source is a *pull*, which reads no more than the files
that are new or have changed, into parts of their own. So a night costs what is new, however long the history. Of each
night it is noted with which pull it was taken, so that rows that came later for past days are found by the next.
"""

import hashlib
import json
import shutil
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import duckdb
from pydantic import BaseModel

from pipeline.config.settings import Settings
from pipeline.runtime.engine import literal, session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.runtime.paths import atomically
from pipeline.sources.inputs import Input
from pipeline.sources.parts import differences, plausible, usable, write_rows, write_strays

INDEX_FORMAT = 5
MISTAKEN_GAP = timedelta(days=366)
MISTAKEN_SHARE = 0.01
NEVER = datetime.max.replace(tzinfo=UTC)


class Part(BaseModel):
    """One file of the index: what the pull `pull` read of the source's file named `address`, and the first and last
    moment in it. Where some of its rows have no usable time, those that have lie before `end`, and the others, each
    with a moment given to it, in a file of their own, `strays`.
    """

    name: str
    pull: int
    address: str
    first: datetime
    last: datetime
    end: datetime | None = None
    strays: str | None = None


class Contents(BaseModel):
    """What the index holds. `files`: the stamp of each of the source's files, by name, as it was last read.
    `gone`: by pull, the files of row numbers that the source no longer held. `days`: how many rows have their moment on
    each day. `nights`: the pull with which each night was taken.
    """

    pull: int = 0
    last_row: int = 0
    files: dict[str, str] = {}
    parts: list[Part] = []
    gone: dict[int, list[str]] = {}
    days: dict[date, int] = {}
    first_event: datetime | None = None
    nights: dict[str, int] = {}

    @property
    def closed(self) -> datetime:
        """The end of the last closed day."""
        return midnight(last_real_day(sorted(self.days.items())))


class Index:
    """The index of one mapping of the source, under `paths.var`."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        """`names` are the columns, by recur's names."""
        self._settings, self.names = settings, names
        key = [INDEX_FORMAT, names, settings.source.model_dump(mode="json")]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.folder = settings.var / "source" / digest

    def contents(self) -> Contents:
        """What the index holds by now, without a look at the source."""
        file = self.folder / "contents.json"
        return Contents.model_validate_json(file.read_text("utf-8")) if file.exists() else Contents()

    def pull(self, inputs: list[Input]) -> Contents:
        """Reads what is new among `inputs`, and gives what the index holds then. Raises RecurError where a file cannot
        be read, and where none holds a time.
        """
        with self._settings.state.alone("source"):
            held = self.contents()
            fresh = [one for one in inputs if held.files.get(one.name) != one.stamp]
            if fresh:
                if not self.folder.exists():
                    shutil.rmtree(self.folder.parent, ignore_errors=True)  # the index of another mapping
                self.folder.mkdir(parents=True, exist_ok=True)
                self._sweep(held)
                with session(self._settings.state) as connection:
                    held.pull += 1
                    for number, one in enumerate(fresh):
                        self._read(connection, held, one, f"{held.pull:06d}-{number:04d}.parquet")
                if not held.days:
                    raise RecurError(
                        f"{inputs[0].address} holds no row with a time from February 1970 to 2199: "
                        "set source.path to a file with events"
                    )
                self._keep(held)
        return held

    def note(self, night: str) -> Contents:
        """Notes that `night` is taken with the present pull, and gives what the index holds."""
        with self._settings.state.alone("source"):
            held = self.contents()
            held.nights[night] = held.pull
            self._keep(held)
        return held

    def _sweep(self, held: Contents) -> None:
        """Removes what a killed pull left."""
        known = {name for part in held.parts for name in (part.name, part.strays)} | {
            name for names in held.gone.values() for name in names
        }
        for file in self.folder.iterdir():
            if file.name not in known | {"contents.json"}:
                file.unlink()

    def _keep(self, held: Contents) -> None:
        with atomically(self.folder / "contents.json") as file:
            file.write_text(held.model_dump_json(), "utf-8")

    def _read(self, connection: duckdb.DuckDBPyConnection, held: Contents, one: Input, name: str) -> None:
        """Reads one file into a part, and adds it to `held`."""
        part, timezone = self.folder / name, self._settings.source.timezone
        with one.local(self.folder) as path:
            write_rows(connection, one, path, timezone, self.names, held.last_row, part)
        earlier = [other for other in held.parts if other.address == one.name]
        if earlier:
            gone = self.folder / f"{name}.gone"  # no name of Parquet: it holds no rows of the source's
            rows = [rows_of(self.folder, held, [other]) for other in earlier]
            differences(connection, part, rows, self.names, gone)
            held.gone.setdefault(held.pull, []).append(gone.name)
        held.files[one.name] = one.stamp
        days = connection.execute(
            f"select moment::date, count(*) from read_parquet({literal(part)}) where {plausible('moment')} group by 1"
        ).fetchall()
        for day, rows_of_day in days:
            held.days[day] = held.days.get(day, 0) + rows_of_day
        made = Part(name=name, pull=held.pull, address=one.name, first=NEVER, last=NEVER)
        if held.days:
            end = midnight(last_real_day(sorted(held.days.items()))) + timedelta(days=1)
            strays = self.folder / name.replace(".parquet", "-strays.parquet")
            last = max((other.last for other in held.parts), default=None)
            if write_strays(connection, part, end, last, strays):
                made = made.model_copy(update={"end": end, "strays": strays.name})
        all_rows = rows_of(self.folder, held, [made])
        [(last_row, first, last, first_event)] = connection.execute(
            f"select max(row), min(moment) filter ({plausible('moment')}), max(moment) filter ({plausible('moment')}), "
            f"min(event_at) filter ({plausible('event_at')} and not stray) from ({all_rows})"
        ).fetchall()
        held.last_row = max(held.last_row, last_row or 0)
        if first is None:
            if last_row is not None:  # not one usable time so far: read again when there is
                del held.files[one.name]
            part.unlink()
            return
        if first_event is not None:
            held.first_event = min(_utc(first_event), held.first_event or _utc(first_event))
        held.parts.append(made.model_copy(update={"first": _utc(first), "last": _utc(last)}))


def rows_of(folder: Path, held: Contents, parts: list[Part], pull: int | None = None) -> str:
    """An SQL query of the rows of `parts`, in their order, strays after the others of theirs, less what the source
    no longer held at `pull` (by default the present one); with `pull`, the pull that brought each.
    """
    upto = held.pull if pull is None else pull
    chosen = []
    for (number, end), group in groupby(parts, key=lambda part: (part.pull, part.end)):
        of_group = list(group)
        within = f" where {usable(end)}" if end else ""
        chosen.append(_read(folder, number, [part.name for part in of_group]) + within)
        if strays := [part.strays for part in of_group if part.strays]:
            chosen.append(_read(folder, number, strays))
    gone = [folder / name for number, names in held.gone.items() if number <= upto for name in names]
    rows = " union all ".join(chosen)
    if not gone:
        return rows
    return f"select * from ({rows}) where row not in (from read_parquet([{', '.join(map(literal, gone))}]))"


def _read(folder: Path, pull: int, names: list[str]) -> str:
    return f"select *, {pull} as pull from read_parquet([{', '.join(literal(folder / name) for name in names)}])"


def last_real_day(days: list[tuple[date, int]]) -> date:
    """The last day that events really have. `days` holds each day and its number of rows, ascending.

    One row dated 2099 must not make the pipeline wait for 2099: the days after a gap of more than a year that hold at
    most one row in a hundred are taken for mistaken.
    """
    allowed, after = MISTAKEN_SHARE * sum(rows for _, rows in days), 0
    last = days[-1][0]
    for (day, _), (following, rows) in zip(days[-2::-1], days[:0:-1], strict=True):
        after += rows
        if after > allowed:
            break
        if following - day > MISTAKEN_GAP:
            last = day
    return last


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
