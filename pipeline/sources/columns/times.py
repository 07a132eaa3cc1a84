"""How a file writes its times: ISO, or one of the formats of spreadsheets and exports. The format is found once for a
column and never guessed row by row, since 03/04/2011 does not show whether its day or its month comes first.
"""

from datetime import UTC, datetime
from typing import Any

import duckdb

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.sources.expressions import LAST_TIME, sql_instant

_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_DATES = {
    # A year of two digits first: it refuses four, whereas %Y would read 11 as the year 11.
    "day first": ("%d/%m/%y", "%d/%m/%Y", "%d.%m.%y", "%d.%m.%Y", "%d-%m-%y", "%d-%m-%Y"),
    "month first": ("%m/%d/%y", "%m/%d/%Y", "%m-%d-%y", "%m-%d-%Y"),
    "year first": (
        "%Y/%m/%d",
        "%Y%m%d",
        "%Y%m%dT%H%M%S",
        "%Y%m%d%H%M%S",
        "%d-%b-%y",
        "%d-%b-%Y",
        "%d %b %y",
        "%d %b %Y",
        "%b %d, %y",
        "%b %d, %Y",
        "%d%b%Y",
    ),
}
EPOCH = "seconds since 1970"
_ZONE = r"[Zz]$|[+-]\d\d(:?\d\d)?$|[A-Za-z]{2,}"  # how a time ends that names its zone
YEAR_1970 = datetime(1970, 1, 1, tzinfo=UTC)
SPACED_OFFSET = r"\s+([+-]\d\d:?\d\d)\s*$"  # 2024-07-18 16:31:31 +0200, as shops export
SAMPLE = 5_000
ISO_SHARE = 0.5


def reading(connection: duckdb.DuckDBPyConnection, rows: str, column: str, where: str) -> str:
    """An SQL expression that reads the text `column` as TIMESTAMPTZ, null where it cannot. A time that names no zone is
    in the session's zone: one in the hour that its clocks skip cannot be read, one in the hour that they have twice is
    the later of the two. `rows` is an SQL relation; its first rows decide whether the times are ISO, and the whole
    column is read only where they are not. `where` names the file and column in errors.

    Raises RecurError where no format fits any value, ConfigurationError where day first and month first fit
    equally well and mean different times.
    """
    skips = _one(connection, "select current_setting('TimeZone')") != ("UTC",)
    sample = f"(select {column} from {rows} where trim({column}) <> '' limit {SAMPLE})"
    [spaced] = _one(connection, f"select count_if(regexp_matches({column}, {literal(SPACED_OFFSET)})) from {sample}")
    iso = _iso(column, skips, bool(spaced))
    # 09/01/24 passes for a day of the year 9: what no event can have is no reading.
    real = f"case when {iso} >= {sql_instant(YEAR_1970)} and {iso} < {sql_instant(LAST_TIME)} then {iso} end"
    values, in_iso, in_iso_and_real = _one(connection, f"select count(*), count({iso}), count({real}) from {sample}")
    if in_iso_and_real >= ISO_SHARE * values:
        return iso
    readings = _readings(connection, sample, column, skips)
    if not readings and in_iso:
        return iso
    if not readings:
        example = _one(connection, f"select any_value({column}) from {sample}")[0]
        raise RecurError(f"{where}: no value can be read as a time, for example {example!r}: write 2017-12-04 11:53:26")
    figures = ", ".join(f"count({time}), sum(hash({time}) % 1000003)" for time in readings.values())
    row = _one(connection, f"select {figures} from {rows}")
    counts = dict(zip(readings, row[::2], strict=True))
    digests = dict(zip(readings, row[1::2], strict=True))
    best = max(counts, key=lambda name: counts[name])
    rival = {"day first": "month first", "month first": "day first"}.get(best)
    if rival in readings and counts[rival] == counts[best] and digests[rival] != digests[best]:
        raise ConfigurationError(
            f"{where}: day or month may come first in these times: write them as 2017-12-04 11:53:26"
        )
    return f"coalesce({real}, {readings[best]})"


def _iso(column: str, skips: bool, spaced: bool) -> str:
    text = f"trim({column})"
    if spaced:
        text = f"regexp_replace({text}, {literal(SPACED_OFFSET)}, '\\1')"
    moment, naive = f"try_cast({text} as timestamptz)", f"try_cast({text} as timestamp)"
    return (
        f"case when {_exists(naive)} or regexp_matches({text}, {literal(_ZONE)}) then {moment} end" if skips else moment
    )


def _exists(naive: str) -> str:
    """An SQL predicate: whether a time without a zone was on the clocks of the session's zone, so that it is the same
    after a conversion there and back. A midnight passes, since most are days without a time.
    """
    return f"({naive}::timestamptz::timestamp = {naive} or {naive} = date_trunc('day', {naive}))"


def _readings(connection: duckdb.DuckDBPyConnection, sample: str, column: str, skips: bool) -> dict[str, str]:
    """The orders of day, month and year that fit any value of the sample, each as an SQL expression of its formats."""
    formats = [(name, date + clock) for name, dates in _DATES.items() for date in dates for clock in _CLOCKS]
    counts = ", ".join(f"count({_strptime(column, [text], skips)})" for _, text in formats)
    *fits, seconds = _one(connection, f"select {counts}, count({_epoch(column)}) from {sample}")
    used = [order for order, count in zip(formats, fits, strict=True) if count]
    readings = {name: _strptime(column, [text for order, text in used if order == name], skips) for name, _ in used}
    return readings | ({EPOCH: _epoch(column)} if seconds else {})


def _strptime(column: str, formats: list[str], skips: bool) -> str:
    naive = f"try_strptime(trim({column}), [{', '.join(literal(text) for text in formats)}])"
    return f"case when {_exists(naive)} then {naive}::timestamptz end" if skips else f"{naive}::timestamptz"


def _epoch(column: str) -> str:
    """Seconds, milliseconds or microseconds since 1970, distinguished by size: seconds reach 1e11 in the year 5138."""
    number = f"try_cast(trim({column}) as double)"
    scale = f"case when abs({number}) < 1e11 then 1e6 when abs({number}) < 1e14 then 1e3 else 1 end"
    microseconds = f"try_cast(round({number} * {scale}) as bigint)"
    return f"(case when abs({microseconds}) < 1e16 then make_timestamp({microseconds}) end at time zone 'UTC')"


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    [row] = connection.execute(query).fetchall()
    return row
