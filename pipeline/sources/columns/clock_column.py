"""The column of clock times beside event times that are whole days, where the source maps the days alone."""

import duckdb

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError
from pipeline.sources.columns.described import Clock
from pipeline.sources.columns.file_columns import LocalFile
from pipeline.sources.columns.file_relation import joined
from pipeline.sources.columns.times import TimeColumn, reading

CLOCK = r"([01]?[0-9]|2[0-4])[:.h]?[0-5][0-9]([:.m]?[0-5][0-9])?([.,][0-9]+)?s?( ?[AaPp]\.?[Mm]\.?)?"
MOST = 0.9


def clock_beside(file: LocalFile, connection: duckdb.DuckDBPyConnection) -> Clock | None:
    """The column, not mapped, that holds the clock times of event times that are whole days; None where there is none,
    or where the two were tried together and cannot be read as a time.
    """
    rows_of, column = file.relation, file.relation.input.mapped["event_time"]
    if not isinstance(column, str):
        return None
    connection.execute(f"set TimeZone = {literal(file.source.timezone)}")
    try:
        moment = file.times(connection)["event_time"]
        filled = f"from {rows_of.sql} where trim({rows_of.text('event_time')}) <> '' and {moment} is not null"
        whole = f"select count(*), count_if({moment} <> date_trunc('day', {moment})) {filled}"
        [(rows, clocks)] = connection.execute(whole).fetchall()
        if rows and not clocks:
            for name in rows_of.columns:
                if name in rows_of.unmapped and (tried := _tried(file, connection, name, rows)):
                    return Clock(column, name, *tried)
    except RecurError:
        return None
    finally:
        connection.execute("set TimeZone = 'UTC'")
    return None


def _tried(file: LocalFile, connection: duckdb.DuckDBPyConnection, name: str, rows: int) -> tuple[str, str] | None:
    """A time of a day and the clock in the column `name`, and how it is read; None where not nearly all are read."""
    of_file = file.relation
    clock = of_file.own(name)
    [(alike,)] = connection.execute(
        f"select count_if(regexp_full_match(trim({clock}), {literal(CLOCK)})) from {of_file.sql}"
    ).fetchall()
    if not alike or alike < MOST * rows:
        return None
    together = joined([of_file.text("event_time"), clock])
    tried = f"(select {together} as tried from {of_file.sql} where trim({clock}) <> '')"
    way = reading(connection, TimeColumn(tried, "tried", of_file.input.address, file.source.time_format))
    moment = f"({way.moment})"
    [(read, clocks)] = connection.execute(
        f"select count({moment}), count_if({moment} <> date_trunc('day', {moment})) from {tried}"
    ).fetchall()
    if read < MOST * rows or not clocks or way.example is None or way.read is None:
        return None
    return way.example, way.read
