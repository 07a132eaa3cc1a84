"""How numbers are written: docs/values.md lists the ways, and what cannot be told is refused."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.nights import Night
from pipeline.sources.columns.numbers import canonical, form_of
from pipeline.sources.factory import open_source
from tests.pipeline.sources.columns.documented import rows_of_table
from tests.support.worlds.csv_nights import configure, day

WRITTEN = rows_of_table("values.md", "Numbers")
COLUMNS = {"customer_id": "who", "event_time": "when", "amount": "eur"}


def read(settings: Settings, folder: Path, name: str = "amount") -> list[float]:
    path = folder / "staged.parquet"
    open_source(settings).extract(Night(None, day("2030-01-01")), path)
    return pd.to_numeric(pd.read_parquet(path)[name], errors="coerce").tolist()


def amounts(folder: Path, values: list[str], **keys: str) -> list[float]:
    rows = [f"a;2020-01-{number + 1:02d};{value}" for number, value in enumerate(values)]
    return read(configure(folder, [*rows, "z;2030-01-02;1"], "who;when;eur", **keys), folder)


def test_the_table_is_long_enough() -> None:
    assert len(WRITTEN) >= 30
    assert len({row[0] for row in WRITTEN}) == len(WRITTEN)


@pytest.mark.parametrize(("text", "comma", "value"), WRITTEN)
def test_ways_to_write_a_number(text: str, comma: str, value: str) -> None:
    """`comma`: what the text is in a column with a decimal comma, `value` in one with a decimal point."""
    point = _canonical(text, ".")
    if value == "empty":
        assert point == ""
        return
    if value == "no number":
        assert point is None
        assert form_of(text) is None
        return
    form = form_of(text)
    assert form is not None
    assert float(point or text) == float(value)
    assert float(_canonical(text, ",") or text) == float(comma or value)
    assert (form.ambiguous is not None) == bool(comma)
    if form.plain:
        assert float(text) == float(value)


def _canonical(text: str, decimal: str) -> str | None:
    [(value,)] = duckdb.sql(f"select {canonical('$text', decimal)}", params={"text": text}).fetchall()
    return value


def test_the_column_decides_what_one_value_cannot(tmp_path: Path) -> None:
    assert amounts(tmp_path, ["1.250", "12,50", "-3", "", "1.000.000", "EUR 7"]) == pytest.approx(
        [1250, 12.5, -3, float("nan"), 1_000_000, 7], nan_ok=True
    )


def test_without_a_value_that_shows_it_a_key_decides(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"column eur: '1.250' may be 1250 or 1.250, .*source.decimal = \",\""):
        amounts(tmp_path, ["1.250", "300"])
    assert amounts(tmp_path, ["1.250", "300"], decimal=",") == [1250, 300]
    assert amounts(tmp_path, ["1.250", "300"], thousands=",") == [1.25, 300]


def test_values_that_contradict_each_other_are_refused_where_it_matters(tmp_path: Path) -> None:
    assert amounts(tmp_path, ["1,5", "2.5"]) == [1.5, 2.5]
    with pytest.raises(ConfigurationError, match=r"set source\.decimal"):
        amounts(tmp_path, ["1,5", "2.5", "1,250"])


def test_another_column_of_numbers_shows_it(tmp_path: Path) -> None:
    columns = COLUMNS | {"quantity": "n"}
    rows = ["a;2020-01-01;12,50;1.000", "z;2030-01-02;1;1"]
    settings = configure(tmp_path, rows, "who;when;eur;n", columns=columns)
    assert read(settings, tmp_path, "quantity") == [1000]


def test_another_file_shows_it_and_later_ones_are_held_to_it(tmp_path: Path) -> None:
    header = "who;when;eur"
    (tmp_path / "o-1.csv").write_text(f"{header}\na;2020-01-01;1.250")
    (tmp_path / "o-2.csv").write_text(f"{header}\na;2020-01-02;2,50\nz;2030-01-02;1")
    settings = configure(tmp_path, [], header)
    settings = settings.model_copy(update={"source": settings.source.model_copy(update={"path": "o-*.csv"})})
    assert read(settings, tmp_path) == [1250, 2.5]
    (tmp_path / "o-3.csv").write_text(f"{header}\na;2020-01-03;1.750")
    assert read(settings, tmp_path) == [1250, 2.5, 1750]
    (tmp_path / "o-4.csv").write_text(f"{header}\na;2020-01-04;1,750\na;2020-01-05;2.25")
    with pytest.raises(ConfigurationError, match=r"o-4\.csv: column eur: '2.25' has another decimal sign"):
        read(settings, tmp_path)


def test_numbers_that_are_stored_as_such_have_a_decimal_point(tmp_path: Path) -> None:
    settings = configure(tmp_path, [])
    rows = "select 'a' as who, '2020-01-01' as \"when\", 1.125::double as eur union all select 'z', '2030-01-02', 300"
    for kind, options in (("parquet", "format parquet"), ("json_lines", "format json")):
        duckdb.sql(f"copy ({rows}) to '{tmp_path}/events' ({options})")
        source = settings.source.model_copy(update={"kind": kind, "path": "events"})
        assert read(settings.model_copy(update={"source": source}), tmp_path) == [1.125]
