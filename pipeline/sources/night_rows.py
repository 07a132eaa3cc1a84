"""The rows of one night, as a query over the index: those whose moment lies in it, and those that came late, for nights
already taken. It reads only the chunks that can hold such rows.
"""

from dataclasses import dataclass
from datetime import datetime

from pipeline.runtime.engine import quoted
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.contents import Chunk, Contents
from pipeline.sources.expressions import row_digest, sql_moment
from pipeline.sources.index import Index

EARLIER = "earlier"
"""The staged column that counts, for a row without an event id, the equal rows of earlier nights."""


@dataclass(frozen=True)
class NightRows:
    """Which rows of the index a night takes: those that the source held as of `sync`. Rows up to the sync `before` were
    there for the night before (None: there is no night before, or its sync is not known).
    """

    night: Night
    sync: int
    before: int | None
    by_known_time: bool

    @property
    def inside(self) -> str:
        """Whether the moment lies in the night, in SQL: `[start, end)` by event time, `(start, end]` by known time."""
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

    @property
    def taken(self) -> str:
        """An SQL predicate: whether the night takes the row."""
        return f"(({self.inside}) or ({self.late}))"

    def late_from(self, chunks: list[Chunk]) -> datetime | None:
        """The earliest moment that a late row can have; None where there can be none."""
        start, before = self.night.start, self.before
        if start is None or before is None:
            return None
        firsts = (chunk.first for chunk in chunks if before < chunk.sync <= self.sync and chunk.first < start)
        return min(firsts, default=None)

    def chunks_beside_late(self, chunks: list[Chunk]) -> list[Chunk]:
        """Of earlier chunks those that can hold a row with the moment of a late one."""
        start, before, late_from = self.night.start, self.before, self.late_from(chunks)
        if start is None or before is None or late_from is None:
            return []
        return [chunk for chunk in chunks if chunk.sync <= before and chunk.first < start and chunk.last >= late_from]

    def can_take_from(self, chunk: Chunk) -> bool:
        """Whether the night may take a row of `chunk`."""
        if chunk.sync > self.sync or chunk.first > self.night.end:
            return False
        start = self.night.start
        return start is None or chunk.last >= start or (self.before is not None and chunk.sync > self.before)


def rows_of_night(contents: Contents, night: Night, by_known_time: bool, again: bool) -> NightRows:
    """The night's rows in the current index or, `again`, those that it took when it was loaded. Raises RecurError where
    that is no longer known.
    """
    sync = contents.nights.get(night.name) if again else contents.sync
    if sync is not None:
        before = None if night.start is None else contents.nights.get(night.start.date().isoformat())
        return NightRows(night, sync, before, by_known_time)
    if by_known_time:
        return NightRows(night, contents.sync, None, by_known_time)
    raise RecurError(
        f"the night {night.name} cannot be read again: its staged rows are past run.keep_staged days and removed, and "
        "without columns.known_time the source cannot say what it knew then; the event store keeps the night as it is"
    )


def staging_query(index: Index, contents: Contents, rows: NightRows) -> str:
    """The query of the night's rows with the columns of a staged night, in the order of the source."""
    synced = [chunk for chunk in contents.chunks if chunk.sync <= rows.sync]
    chunks = [chunk for chunk in synced if rows.can_take_from(chunk)]
    if not chunks:
        chunks = contents.chunks[:1]  # the night takes none of its rows, but it has the columns
    columns = ", ".join(["row", "unreadable", *(quoted(name) for name in index.names)])
    candidates = f"({index.rows(contents, chunks, rows.sync)})"
    if index.of_lines:
        everything = f"({index.rows(contents, synced or chunks, rows.sync)})"
        return f"select {columns} from ({_lines(everything, candidates, rows)}) order by row"
    taken = f"select * from {candidates} where {rows.taken}"
    several = len({chunk.sync for chunk in chunks}) > 1
    in_order = " order by row" if several or contents.deletions else ""
    if "event_id" in index.names:
        if several and not rows.by_known_time:
            taken = _latest(taken, index.names)
        return f"select {columns} from ({taken}){in_order}"
    if rows.by_known_time or not several:
        return f"select {columns}, 0 as {EARLIER} from ({taken}){in_order}"
    return f"select {columns}, {EARLIER} from ({_numbered(index, contents, rows, taken)}) order by row"


def restated_query(index: Index, contents: Contents, rows: NightRows) -> str | None:
    """A query that counts the late rows of the night, without event ids, whose customer and event time are those of a
    row of an earlier night that says something else; None where there can be none.
    """
    past = rows.chunks_beside_late(contents.chunks)
    chunks = [chunk for chunk in contents.chunks if rows.can_take_from(chunk)]
    if "event_id" in index.names or not past or not chunks:
        return None
    content = row_digest(quoted(name) for name in index.names)
    columns = f"select customer_id, event_at, {content} as content from"
    late = f"{columns} ({index.rows(contents, chunks, rows.sync)}) where {rows.late} and not stray"
    # As of the night before: the source may have taken back what it says anew.
    earlier = f"{columns} ({index.rows(contents, past, rows.before)})"
    return f"""
        select count(*) from ({late}) late semi join ({earlier}) earlier
            on late.customer_id = earlier.customer_id and late.event_at = earlier.event_at
            and late.content <> earlier.content
    """


def _latest(rows: str, names: list[str]) -> str:
    """The rows less those of an event that a later sync brought otherwise, before the night was taken."""
    of_event = "over (partition by coalesce(nullif(trim(event_id), ''), row::varchar))"
    content = f"hash(row({', '.join(quoted(name) for name in names)}))"
    latest = f"pull = max(pull) {of_event} or {content} = arg_max({content}, pull) {of_event}"
    return f"select * from ({rows}) qualify {latest}"


def _lines(everything: str, candidates: str, rows: NightRows) -> str:
    """The lines of the events that the night takes: an event is known once its last line is, so all its lines belong to
    that line's night. Where a line comes late, the night takes its event again with all its lines, as a correction.
    """
    if rows.night.start is None and rows.before is None:
        of_event = "partition by nullif(trim(event_id), '')"
        last = f"case when trim(event_id) <> '' then max(moment) filter (not stray) over ({of_event}) end"
        return f"""
            select * from (select * replace (coalesce({last}, moment) as moment) from {everything}) where {rows.inside}
        """
    named = f"select trim(event_id) as event_id from {candidates} where {rows.taken}"
    touched = f"{named} and not stray and trim(event_id) <> ''"
    of_touched = f"from {everything} where not stray and trim(event_id) in ({touched})"
    complete = f"select trim(event_id) {of_touched} group by 1 having max(moment) < {sql_moment(rows.night.end)}"
    return f"""
        select * {of_touched} and trim(event_id) in ({complete})
        union all
        select * from {candidates} where {rows.taken} and (stray or coalesce(trim(event_id), '') = '')
    """


def _numbered(index: Index, contents: Contents, rows: NightRows, taken: str) -> str:
    """The rows `taken` of a source without event ids, each with the number of equal rows in earlier nights
    that the source still holds.
    """
    digest = row_digest(quoted(name) for name in index.names)
    past = rows.chunks_beside_late(contents.chunks)
    if not past:
        return f"select *, 0 as {EARLIER} from ({taken})"
    # Without those that the source has taken back since: one that another file holds now is that event again.
    known = f"select moment, {digest} as digest from ({index.rows(contents, past, rows.sync)})"
    late = f"select moment, {digest} as digest from ({taken}) where {rows.late}"
    equal = f"from ({known}) where moment in (select moment from ({late}))"
    counts = f"select digest, count(*) as {EARLIER} {equal} group by digest"
    return f"""
        select taken.*, case when {rows.late} then coalesce({EARLIER}, 0) else 0 end as {EARLIER}
        from (select *, {digest} as digest from ({taken})) taken left join ({counts}) using (digest)
    """
