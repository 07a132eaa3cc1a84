"""How a column writes its times: as ISO, or in one of the ways of spreadsheets and exports. The order of day, month and
year is found once for a column and never guessed row by row, since 03/04/2011 does not show what comes first.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.columns.time_texts import (
    DAY_FIRST,
    MONTH_FIRST,
    MONTH_NAME,
    MONTH_STEPS,
    REWRITTEN,
    RIVALS,
    SHORT_YEAR_FIRST,
    Zone,
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
RARE = 0.01
"""The share of a column's values up to which another way of writing them is a mistake of theirs."""
_FOREIGN = r"(UTC|GMT|/[A-Za-z_]+)$"
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
    example, and how that is read, in UTC; and whether it holds times in ISO 8601 beside.
    """

    moment: str
    written: str
    example: str | None = None
    read: str | None = None
    iso_too: bool = False

    @property
    def ways(self) -> set[str]:
        """Every way in which the column is written."""
        return {self.written, *([ISO] if self.iso_too else [])}

    @property
    def order(self) -> str | None:
        """The order of day, month and year, where other orders fit the same texts."""
        return self.written if self.written in RIVALS else None


def reading(connection: duckdb.DuckDBPyConnection, times: TimeColumn, whole: bool = False) -> TimeReading:
    """How the column is read, with an example; `_reading` has the rules and what is raised."""
    way = _reading(connection, times, whole)
    if way.example is None:
        return way
    query = f"select (({way.moment}) at time zone 'UTC')::varchar from (select $text as {times.column})"
    [(read,)] = connection.execute(query, {"text": way.example}).fetchall()
    return way._replace(read=read)


def _reading(connection: duckdb.DuckDBPyConnection, times: TimeColumn, whole: bool) -> TimeReading:
    """How the column is read. A time that names no zone is in the session's zone: one in the hour that its clocks skip
    cannot be read, one in the hour that they have twice is the later of the two. The first rows decide whether the
    times are ISO, and the `whole` column is read only where they are not, or on request. What is ISO is read so, and
    the rest in the way that fits most of it.

    Raises RecurError where no way fits any value; Undecided where two orders of day, month and year fit equally well
    and mean different times; ConfigurationError where the order is not that of earlier files, or not one.
    """
    column = times.column
    [name] = _one(connection, "select current_setting('TimeZone')")
    zone = Zone.of(name)
    sample = f"(select {column} from {times.rows} where trim({column}) <> '' limit {SAMPLE})"
    [spaced] = _one(connection, f"select count_if(regexp_matches({column}, {literal(SPACED_OFFSET)})) from {sample}")
    iso = _iso(column, zone.skips, bool(spaced))
    # 09/01/24 passes for a day of the year 9: what no event can have is no reading.
    real = f"case when {iso} >= {sql_instant(YEAR_1970)} and {iso} < {sql_instant(LAST_TIME)} then {iso} end"
    figures = f"count(*), count({iso}), count({real}), min({column})"
    values, in_iso, in_iso_and_real, example = _one(connection, f"select {figures} from {sample}")
    if times.format is not None:
        own = _by_format(column, times.format, zone.skips)
        [fits] = _one(connection, f"select count({own}) from {sample}")
        if fits:
            return TimeReading(f"coalesce({own}, {real})", times.format, example)
    if in_iso_and_real == values and not whole:
        return TimeReading(iso, ISO, example)
    other = _other(connection, times, real, zone)
    return other or _nothing(times, iso if in_iso else None, example)


def _nothing(times: TimeColumn, iso: str | None, example: str | None) -> TimeReading:
    if iso is not None:
        return TimeReading(iso, ISO, example)
    raise RecurError(
        f"{times.where}: no value can be read as a time, for example {example!r}: write 2017-12-04 11:53:26, or set "
        "source.time_format"
    )


def _other(connection: duckdb.DuckDBPyConnection, times: TimeColumn, real: str, zone: Zone) -> TimeReading | None:
    """The reading of a column that is not, or not all, ISO (`real`: as far as it is); None where nothing fits what is
    not, or no more of it than mistakes are.
    """
    column = f"trim({times.column})"
    # The first rows, and one of each way in which the column writes anything.
    some = f"select {column} as {times.column} from {times.rows} where {column} <> ''"
    shape = f"translate({times.column}, '123456789', '000000000')"
    each = f"select max({times.column}) from ({some}) group by {shape} limit {SAMPLE}"
    connection.execute(f"create or replace temp table sampled as (from ({some}) limit {SAMPLE}) union all ({each})")
    [iso] = _one(connection, f"select count({real}) from sampled")
    connection.execute(f"delete from sampled where {real} is not null")
    if _one(connection, "select count(*) from sampled") == (0,):
        return None
    used = _steps(connection, times.column)
    text = apart(rewritten(times.column, used), zone)
    every = formats()
    counts = ", ".join(f"count_if({has_format(text, form)})" for _, form in every)
    zoned, *counted = _one(connection, f"select count_if({text.zone} <> ''), {counts} from sampled")
    forms = [form for form, count in zip(every, counted, strict=True) if count]
    readings = moments(apart(rewritten(column, used), zone, zoned > 0), forms, zone)
    counts = ", ".join(f"count({moment})" for moment in readings.values())
    counted = list(_one(connection, f"select {counts} from sampled"))
    fitting = {name: (count, name) for name, count in zip(readings, counted, strict=True) if count}
    if not fitting:
        return None
    most = max(count for count, _ in fitting.values())
    rest = f"{times.rows} where {column} <> ''" + (f" and {real} is null" if iso else "")
    if iso:
        figures = ", ".join(f"count({readings[name]}) filter ({real} is null)" for name in fitting)
        values, *others = _one(connection, f"select count({column}), {figures} from {times.rows}")
        if max(others) < RARE * values:
            return None
    _require_one_order(connection, times, readings)
    if [count for count, _ in fitting.values()].count(most) > 1:  # these do not show it: perhaps the whole column does
        figures = ", ".join(f"count({readings[name]}), sum(hash({readings[name]}) % 1000003)" for name in fitting)
        row = _one(connection, f"select {figures} from {rest}")
        fitting = dict(zip(fitting, zip(row[::2], row[1::2], strict=True), strict=True))
    best = _best(connection, times, fitting, rewritten(times.column, used))
    [example] = _one(connection, f"select max({times.column}) from sampled where {readings[best]} is not null")
    moment = f"coalesce({real}, {readings[best]})" if iso else readings[best]
    return TimeReading(moment, best, example, iso_too=iso > 0)


def _require_one_order(connection: duckdb.DuckDBPyConnection, times: TimeColumn, readings: dict[str, str]) -> None:
    """Raises ConfigurationError where some times show that the day comes first, and others that the month does."""
    if not {DAY_FIRST, MONTH_FIRST} <= set(readings):
        return
    day, month = readings[DAY_FIRST], readings[MONTH_FIRST]
    shown = ", ".join(
        f"count_if({one} is not null and {other} is null), "
        f"min({times.column}) filter ({one} is not null and {other} is null)"
        for one, other in ((day, month), (month, day))
    )
    days, of_day, months, of_month = _one(connection, f"select {shown} from sampled")
    if min(days, months) > RARE * (days + months):
        raise ConfigurationError(
            f"{times.where}: the day comes first in {of_day!r}, the month in {of_month!r}, so that 03/04/2024 may be "
            "either: give each part a file and [[source.files]] of its own, or set source.time_format to the order of "
            "which the others are mistakes"
        )


def _steps(connection: duckdb.DuckDBPyConnection, column: str) -> list[int]:
    """The numbers of the rewriting steps that change any text of the sample, which they leave as it is."""
    used: list[int] = []
    [named] = _one(connection, f"select bool_or(regexp_matches({column}, {literal(MONTH_NAME)})) from sampled")
    for number, (pattern, _) in enumerate(REWRITTEN):
        if number in MONTH_STEPS and not named:
            continue
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
    # The engine knows BST as Bangladesh's time: short names of zones are read by a table of ours.
    foreign = f"right({text}, 1) >= 'A' and right({text}, 1) not in ('Z', 'z')"
    moment = f"if({foreign} and not regexp_matches({text}, {literal(_FOREIGN)}), null, {moment})"
    return (
        f"case when {exists(naive)} or regexp_matches({text}, {literal(_ZONE)}) then {moment} end" if skips else moment
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    [row] = connection.execute(query).fetchall()
    return row
