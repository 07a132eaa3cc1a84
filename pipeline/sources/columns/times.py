"""How a column writes its times: as ISO, or in one of the ways of spreadsheets and exports. The order of day, month and
year is found once for a column and never guessed row by row, since 03/04/2011 does not show what comes first.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.columns.time_texts import (
    REWRITTEN,
    RIVALS,
    SHORT_YEAR_FIRST,
    apart,
    exists,
    formats,
    has_format,
    moments,
    rewritten,
)
from pipeline.sources.expressions import LAST_TIME, sql_instant

ISO = "ISO 8601"
_ZONE = r"[Zz]$|[+-]\d\d(:?\d\d)?$|[A-Za-z]{2,}"  # how a time ends that names its zone
YEAR_1970 = datetime(1970, 1, 1, tzinfo=UTC)
SPACED_OFFSET = r"\s+([+-]\d\d:?\d\d)\s*$"  # 2024-07-18 16:31:31 +0200, as shops export
SAMPLE = 5_000
ISO_SHARE = 0.5
CLEARLY = 3
"""How many times as many days as years tell a column's day of the month from its year of two digits."""


class Undecided(ConfigurationError):
    """A column of which nothing shows how it is to be read."""


class TimeColumn(NamedTuple):
    """A column of times: an SQL relation and the column in it, what it is called in errors, the format that the
    configuration gives, and the order of day, month and year that earlier files of the column had.
    """

    rows: str
    column: str
    where: str
    format: str | None = None
    order: str | None = None


class TimeReading(NamedTuple):
    """An SQL expression that reads a column as TIMESTAMPTZ, null where it cannot; how the column is written; an
    example, and how that is read, in UTC.
    """

    moment: str
    written: str
    example: str | None = None
    read: str | None = None

    @property
    def order(self) -> str | None:
        """The order of day, month and year, where other orders fit the same texts."""
        return self.written if self.written in RIVALS else None


def reading(connection: duckdb.DuckDBPyConnection, times: TimeColumn) -> TimeReading:
    """How the column is read, with an example; `_reading` has the rules and what is raised."""
    way = _reading(connection, times)
    if way.example is None:
        return way
    query = f"select (({way.moment}) at time zone 'UTC')::varchar from (select $text as {times.column})"
    [(read,)] = connection.execute(query, {"text": way.example}).fetchall()
    return way._replace(read=read)


def _reading(connection: duckdb.DuckDBPyConnection, times: TimeColumn) -> TimeReading:
    """How the column is read. A time that names no zone is in the session's zone: one in the hour that its clocks skip
    cannot be read, one in the hour that they have twice is the later of the two. The first rows decide whether the
    times are ISO, and the whole column is read only where they are not.

    Raises RecurError where no way fits any value; Undecided where two orders of day, month and year fit equally well
    and mean different times; ConfigurationError where the order is not that of earlier files.
    """
    column = times.column
    skips = _one(connection, "select current_setting('TimeZone')") != ("UTC",)
    sample = f"(select {column} from {times.rows} where trim({column}) <> '' limit {SAMPLE})"
    [spaced] = _one(connection, f"select count_if(regexp_matches({column}, {literal(SPACED_OFFSET)})) from {sample}")
    iso = _iso(column, skips, bool(spaced))
    # 09/01/24 passes for a day of the year 9: what no event can have is no reading.
    real = f"case when {iso} >= {sql_instant(YEAR_1970)} and {iso} < {sql_instant(LAST_TIME)} then {iso} end"
    figures = f"count(*), count({iso}), count({real}), min({column})"
    values, in_iso, in_iso_and_real, example = _one(connection, f"select {figures} from {sample}")
    if times.format is not None:
        own = _by_format(column, times.format, skips)
        [fits] = _one(connection, f"select count({own}) from {sample}")
        if fits:
            return TimeReading(f"coalesce({own}, {real})", times.format, example)
    if in_iso_and_real >= ISO_SHARE * values:
        return TimeReading(iso, ISO, example)
    return _other(connection, times, real, skips) or _nothing(times, iso if in_iso else None, example)


def _nothing(times: TimeColumn, iso: str | None, example: str | None) -> TimeReading:
    if iso is not None:
        return TimeReading(iso, ISO, example)
    raise RecurError(
        f"{times.where}: no value can be read as a time, for example {example!r}: write 2017-12-04 11:53:26, or set "
        "source.time_format"
    )


def _other(connection: duckdb.DuckDBPyConnection, times: TimeColumn, real: str, skips: bool) -> TimeReading | None:
    """The reading of a column that is not ISO; None where nothing fits."""
    column = f"trim({times.column})"
    # The first rows, and one of each way in which the column writes anything.
    some = f"select {column} as {times.column} from {times.rows} where {column} <> ''"
    shape = f"translate({times.column}, '123456789', '000000000')"
    each = f"select max({times.column}) from ({some}) group by {shape} limit {SAMPLE}"
    connection.execute(f"create or replace temp table sampled as (from ({some}) limit {SAMPLE}) union all ({each})")
    used = _steps(connection, times.column)
    text = apart(rewritten(times.column, used))
    every = formats()
    counts = ", ".join(f"count_if({has_format(text, form)})" for _, form in every)
    zoned, *counted = _one(connection, f"select count_if({text.zone} <> ''), {counts} from sampled")
    forms = [form for form, count in zip(every, counted, strict=True) if count]
    readings = moments(apart(rewritten(column, used), zoned > 0), forms, skips)
    counts = ", ".join(f"count({moment})" for moment in readings.values())
    iso, *counted = _one(connection, f"select count({real}), {counts} from sampled")
    fitting = {name: (count, name) for name, count in zip(readings, counted, strict=True) if count}
    if not fitting:
        return None
    most = max(count for count, _ in fitting.values())
    if [count for count, _ in fitting.values()].count(most) > 1:  # these do not show it: perhaps the whole column does
        figures = ", ".join(f"count({readings[name]}), sum(hash({readings[name]}) % 1000003)" for name in fitting)
        row = _one(connection, f"select {figures} from {times.rows}")
        fitting = dict(zip(fitting, zip(row[::2], row[1::2], strict=True), strict=True))
    best = _best(connection, times, fitting, rewritten(times.column, used))
    [example] = _one(connection, f"select max({times.column}) from sampled where {readings[best]} is not null")
    return TimeReading(f"coalesce({real}, {readings[best]})" if iso else readings[best], best, example)


def _steps(connection: duckdb.DuckDBPyConnection, column: str) -> list[int]:
    """The numbers of the rewriting steps that change any text of the sample, which they leave as it is."""
    used: list[int] = []
    for number, (pattern, _) in enumerate(REWRITTEN):
        before = rewritten(column, used)
        [changes] = _one(connection, f"select bool_or(regexp_matches({before}, {literal(pattern)})) from sampled")
        used += [number] if changes else []
    return used


def _best(connection: duckdb.DuckDBPyConnection, times: TimeColumn, fits: dict[str, tuple[int, Any]], text: str) -> str:
    """The reading that fits most values of the column. `fits`: of each, how many it fits and a digest of what it makes
    of them; `text` is an SQL expression of the sampled texts as they are rewritten.
    """
    best = max(fits, key=lambda name: fits[name][0])
    if best not in RIVALS:
        return best
    equal = [name for name in RIVALS if name in fits and fits[name][0] == fits[best][0]]
    if times.order is not None:
        if times.order not in equal:
            raise ConfigurationError(
                f"{times.where}: {best} in these times, and {times.order} in the files before: set source.time_format, "
                "or give them [[source.files]] of their own"
            )
        return times.order
    if len({fits[name][1] for name in equal}) == 1:
        return best
    if SHORT_YEAR_FIRST in equal:
        first, last = _one(
            connection,
            f"select count(distinct split_part({text}, '/', 1)), count(distinct left(split_part({text}, '/', 3), 2)) "
            "from sampled",
        )
        if first >= CLEARLY * last:
            equal.remove(SHORT_YEAR_FIRST)
        elif last >= CLEARLY * first:
            equal = [SHORT_YEAR_FIRST]
    if len(equal) == 1:
        return equal[0]
    [example] = _one(connection, f"select max({times.column}) from sampled")
    first = "day, month or year" if SHORT_YEAR_FIRST in equal else "day or month"
    raise Undecided(
        f"{times.where}: {first} may come first in these times, for example {example!r}, and no value shows which: set "
        'source.time_format, as "%d/%m/%Y", or write them as 2017-12-04 11:53:26'
    )


def _by_format(column: str, text: str, skips: bool) -> str:
    """The SQL expression of a format that the configuration gives; with %z or %Z it is an instant already."""
    parsed = f"try_strptime(trim({column}), {literal(text)})"
    if "%z" in text or "%Z" in text:
        return parsed
    return f"case when {exists(parsed)} then {parsed}::timestamptz end" if skips else f"{parsed}::timestamptz"


def _iso(column: str, skips: bool, spaced: bool) -> str:
    text = f"trim({column})"
    if spaced:
        text = f"regexp_replace({text}, {literal(SPACED_OFFSET)}, '\\1')"
    moment, naive = f"try_cast({text} as timestamptz)", f"try_cast({text} as timestamp)"
    return (
        f"case when {exists(naive)} or regexp_matches({text}, {literal(_ZONE)}) then {moment} end" if skips else moment
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    [row] = connection.execute(query).fetchall()
    return row
