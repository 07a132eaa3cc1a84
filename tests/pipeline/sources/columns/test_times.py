"""How times are written: docs/values.md lists the ways; what a column cannot show is refused, and the key named."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.columns.times import SAMPLE, TimeColumn, TimeReading, Undecided, reading
from pipeline.sources.factory import open_source
from tests.pipeline.sources.columns.documented import rows_of_table
from tests.support.worlds.csv_nights import configure, day

WRITTEN = rows_of_table("values.md", "Times")
WAYS = [row for row in WRITTEN if row[1][0] == "2"]


def read(values: list[str], key: str | None = None, order: str | None = None, zone: str = "UTC") -> list[str | None]:
    """The moments of a column with these values, in UTC."""
    with duckdb.connect() as connection:
        connection.execute(f"set TimeZone = {literal(zone)}")
        rows = f"(select unnest([{', '.join(map(literal, values))}]) as t)"
        way = reading(connection, TimeColumn(rows, "t", "t.csv: column t", key, order))
        moments = connection.execute(f"select (({way.moment}) at time zone 'UTC')::varchar from {rows}").fetchall()
        return [moment for (moment,) in moments]


def test_the_table_is_long_enough() -> None:
    assert len(WAYS) >= 57
    assert len(dict(WRITTEN)) == len(WRITTEN)


@pytest.mark.parametrize(("text", "moment"), WRITTEN)
def test_ways_to_write_a_time(text: str, moment: str) -> None:
    if moment[0] == "2":
        assert read([text]) == [moment]
        return
    with pytest.raises(Undecided if moment.startswith("needs") else RecurError, match=r"source\.time_format"):
        read([text])


def test_a_zone_of_the_source_counts_where_a_time_names_none() -> None:
    assert read(["13.07.2020 10:00", "13.07.2020 10:00 GMT", "13.07.2020 10:00 +0500"], zone="Europe/London") == [
        "2020-07-13 09:00:00",
        "2020-07-13 10:00:00",
        "2020-07-13 05:00:00",
    ]
    assert read(["29/03/2020 01:30", "29/03/2020 03:30"], zone="Europe/London") == [None, "2020-03-29 02:30:00"]


def test_a_year_of_two_digits_changes_less_than_the_day() -> None:
    days = [f"{number:02d}" for number in range(1, 13)]
    assert read([f"{number}/13/20" for number in days[:3]])[0] == "2020-01-13 00:00:00"
    assert read([f"{number}.11.20" for number in [*days, "28"]])[0] == "2020-11-01 00:00:00"
    assert read([f"20-11-{number}" for number in [*days, "28"]])[0] == "2020-11-01 00:00:00"
    with pytest.raises(Undecided, match=r"day, month or year may come first .*source\.time_format"):
        read(["12-11-10"])


def test_what_the_column_cannot_show_a_key_or_earlier_files_do() -> None:
    assert read(["03/04/2020", "05/06/2020"], key="%d/%m/%Y")[0] == "2020-04-03 00:00:00"
    assert read(["03/04/2020", "2020-06-05"], key="%m/%d/%Y") == ["2020-03-04 00:00:00", "2020-06-05 00:00:00"]
    assert read(["03/04/2020 10:00 +0200"], key="%d/%m/%Y %H:%M %z") == ["2020-04-03 08:00:00"]
    assert read(["03/04/2020", "05/06/2020"], order="month first")[0] == "2020-03-04 00:00:00"
    with pytest.raises(ConfigurationError, match=r"day first in these times, and month first in the files before"):
        read(["13/04/2020"], order="month first")


def test_two_ways_in_one_column_and_two_orders_in_none() -> None:
    both = ["2020-03-13 08:26", "13/03/2020 08:26", "yesterday"]
    assert read(both) == ["2020-03-13 08:26:00", "2020-03-13 08:26:00", None]
    assert read(["2020-03-13 08:26"] * 300 + ["13.03.2020"])[-1] is None  # a mistake of one row
    with pytest.raises(ConfigurationError, match=r"the day comes first in '13/03/2020', the month in '03/14/2020'"):
        read(["13/03/2020", "03/14/2020", "01/02/2020"])


def test_a_short_name_of_a_zone_is_that_of_the_source() -> None:
    summer = "2020-07-13 08:26:40"
    assert read([f"{summer} BST"], zone="Europe/London") == ["2020-07-13 07:26:40"]
    assert read([f"{summer} IST", summer], zone="Asia/Kolkata") == ["2020-07-13 02:56:40"] * 2
    assert read([f"{summer} CST"], zone="Asia/Shanghai") == ["2020-07-13 00:26:40"]
    assert read([summer] * 9 + [f"{summer} BST"])[-1] is None


def test_another_way_after_the_rows_that_are_looked_at_first(tmp_path: Path) -> None:
    rows = [f"c{number},2020-01-{number % 28 + 1:02d},1" for number in range(SAMPLE)]
    settings = configure(tmp_path, [*rows, *(f"d{number},{number % 28 + 1}.02.2020 10:00,1" for number in range(99))])
    open_source(settings).extract(Night(None, day("2020-03-01")), tmp_path / "staged.parquet")
    times = pd.read_parquet(tmp_path / "staged.parquet").event_time
    assert times.str.endswith("10:00:00+00").sum() == 99


def test_the_order_is_found_for_all_files_and_held_to(tmp_path: Path) -> None:
    header = "who,when,eur"
    (tmp_path / "o-1.csv").write_text(f"{header}\na,03/04/2020,1")
    (tmp_path / "o-2.csv").write_text(f"{header}\na,13/04/2020,2\nz,01/02/2029,3")
    settings = configure(tmp_path, [])
    settings = settings.model_copy(update={"source": settings.source.model_copy(update={"path": "o-*.csv"})})

    def times() -> list[str]:
        open_source(settings).extract(Night(None, day("2021-01-01")), tmp_path / "staged.parquet")
        return [text[:10] for text in pd.read_parquet(tmp_path / "staged.parquet")["event_time"]]

    assert times() == ["2020-04-03", "2020-04-13"]
    (tmp_path / "o-3.csv").write_text(f"{header}\na,05/04/2020,1")
    assert times() == ["2020-04-03", "2020-04-13", "2020-04-05"]


def test_only_an_order_that_others_could_be_is_held_to() -> None:
    assert TimeReading("t", "day first").order == "day first"
    assert TimeReading("t", "ISO 8601").order is None
