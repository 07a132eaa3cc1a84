"""The rows of one night, as a query over the index: those whose moment lies in it, and those that came late, for nights
already taken. It reads only the parts that can hold such rows.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.runtime.engine import quoted
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.index import Contents, Part, rows_of
from pipeline.sources.parts import NOTHING, UNIT, sql_moment

EARLIER = "earlier"
"""The staged column that says of a row without an event id how many rows that say the same were in earlier nights."""


@dataclass(frozen=True)
class NightRows:
    """Which rows of the index a night takes: those that the source held at the pull `pull`, of which those up to the
    pull `before` were there for the night before (None: no night before, or it is not known with which pull).
    """

    night: Night
    pull: int
    before: int | None
    by_known_time: bool

    @property
    def inside(self) -> str:
        """An SQL predicate: whether the moment lies in the night, `[start, end)` by event time, `(start, end]` by known
        time.
        """
        upper = f"moment {'<=' if self.by_known_time else '<'} {sql_moment(self.night.end)}"
        if self.night.start is None:
            return upper
        return f"{upper} and moment {'>' if self.by_known_time else '>='} {sql_moment(self.night.start)}"

    @property
    def late(self) -> str:
        """An SQL predicate: whether the row came for a night already taken, after that was taken."""
        if self.night.start is None or self.before is None:
            return "false"
        past = f"moment {'<=' if self.by_known_time else '<'} {sql_moment(self.night.start)}"
        return f"pull > {self.before} and {past}"

    def late_from(self, held: Contents) -> datetime | None:
        """The earliest moment that a late row can have; None where there can be none."""
        start, before = self.night.start, self.before
        if start is None or before is None:
            return None
        return min(
            (part.first for part in held.parts if before < part.pull <= self.pull and part.first < start), default=None
        )

    def can_hold(self, part: Part) -> bool:
        """Whether a row of `part` may be one of the night's."""
        if part.pull > self.pull or part.first > self.night.end:
            return False
        start = self.night.start
        return start is None or part.last >= start or (self.before is not None and part.pull > self.before)


def rows_of_night(held: Contents, night: Night, by_known_time: bool, pull: int | None = None) -> NightRows:
    """The rows that `night` takes of what is held now or, where it was taken before, of what was held at `pull`."""
    before = None if night.start is None else held.nights.get(night.start.date().isoformat())
    return NightRows(night, held.pull if pull is None else pull, before, by_known_time)


def staging_query(settings: Settings, folder: Path, held: Contents, rows: NightRows, names: list[str]) -> str:
    """The query of the night's rows with the columns of a staged night, in the order of the source."""
    source = settings.source
    possible = [part for part in held.parts if part.pull <= rows.pull]
    parts = [part for part in possible if rows.can_hold(part)]
    if not parts:
        parts = held.parts[:1]  # no row of it will be taken, but it has the columns
    columns = ", ".join(["row", "unreadable", *(quoted(name) for name in names)])
    chosen = f"({rows_of(folder, held, parts, rows.pull)})"
    if source.rows_are == "lines":
        everything = f"({rows_of(folder, held, possible or parts, rows.pull)})"
        return f"select {columns} from ({_lines(everything, chosen, rows)}) order by row"
    taken = f"select * from {chosen} where ({rows.inside}) or ({rows.late})"
    several = len({part.pull for part in parts}) > 1
    if "event_id" in names:
        if several and not rows.by_known_time:
            # What a later pull says of an event replaces what an earlier one said, before either was taken.
            of_event = "over (partition by coalesce(nullif(trim(event_id), ''), row::varchar))"
            said = f"hash(row({', '.join(quoted(name) for name in names)}))"
            latest = f"pull = max(pull) {of_event} or {said} = arg_max({said}, pull) {of_event}"
            taken = f"select * from ({taken}) qualify {latest}"
        return f"select {columns} from ({taken})" + (" order by row" if several or held.gone else "")
    if rows.by_known_time or not several:
        return f"select {columns}, 0 as {EARLIER} from ({taken})" + (" order by row" if several or held.gone else "")
    return f"select {columns}, {EARLIER} from ({_numbered(folder, held, rows, taken, names)}) order by row"


def _lines(everything: str, chosen: str, rows: NightRows) -> str:
    """The lines of the events that the night takes: an event is known once its last line is, so all its lines belong to
    that line's night. Where a line comes late, its event is taken anew with all its lines, and corrects what was known.
    """
    taken = f"({rows.inside}) or ({rows.late})"
    if rows.night.start is None and rows.before is None:
        of_event = "partition by nullif(trim(event_id), '')"
        last = f"case when trim(event_id) <> '' then max(moment) filter (not stray) over ({of_event}) end"
        return f"""
            select * from (select * replace (coalesce({last}, moment) as moment) from {everything}) where {rows.inside}
        """
    touched = f"select trim(event_id) as event_id from {chosen} where ({taken}) and not stray and trim(event_id) <> ''"
    of_touched = f"from {everything} where not stray and trim(event_id) in ({touched})"
    complete = f"select trim(event_id) {of_touched} group by 1 having max(moment) < {sql_moment(rows.night.end)}"
    return f"""
        select * {of_touched} and trim(event_id) in ({complete})
        union all
        select * from {chosen} where ({taken}) and (stray or coalesce(trim(event_id), '') = '')
    """


def _numbered(folder: Path, held: Contents, rows: NightRows, taken: str, names: list[str]) -> str:
    """The rows `taken` of a source without event ids, and in how many rows of earlier nights each had its like."""
    said = ", ".join(f"coalesce({quoted(name)}, {NOTHING})" for name in names)
    digest = f"md5(concat_ws({UNIT}, {said}))"
    start, late_from = rows.night.start, rows.late_from(held)
    # Rows that say the same have the same moment: of earlier parts only those with a late row's are looked at.
    past = [
        part
        for part in held.parts
        if rows.before is not None and part.pull <= rows.before
        if start is not None and late_from is not None and part.first < start and part.last >= late_from
    ]
    if not past:
        return f"select *, 0 as {EARLIER} from ({taken})"
    known = f"select moment, {digest} as digest from ({rows_of(folder, held, past, rows.before)})"
    late = f"select moment, {digest} as digest from ({taken}) where {rows.late}"
    alike = f"from ({known}) where moment in (select moment from ({late}))"
    counts = f"select digest, count(*) as {EARLIER} {alike} group by digest"
    return f"""
        select taken.*, case when {rows.late} then coalesce({EARLIER}, 0) else 0 end as {EARLIER}
        from (select *, {digest} as digest from ({taken})) taken left join ({counts}) using (digest)
    """


def replayed(settings: Settings, held: Contents, night: Night, by_known_time: bool) -> NightRows:
    """The rows that a loaded night took. Raises RecurError where that is no longer known."""
    pull = held.nights.get(night.name)
    if pull is not None:
        return rows_of_night(held, night, by_known_time, pull)
    if by_known_time:
        return NightRows(night, held.pull, None, by_known_time)
    kept = settings.run.keep_staged
    raise RecurError(
        f"the night {night.name} cannot be read again: its staged rows are kept for {kept} days (run.keep_staged), and "
        "without columns.known_time the source cannot say what it knew then; the event store keeps the night as it is"
    )
