"""How ids are read, and what is said of them."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipeline.config.source import Source
from pipeline.sources.columns.ids import figures, id_text, read_id
from pipeline.steps.extract import extract
from pipeline.steps.validate import validate
from tests.support.worlds.csv_nights import configure, night_of


@pytest.mark.parametrize(
    ("text", "folded", "stripped"),
    [
        ("A@b.C", "a@b.c", "A@b.C"),
        (" 0042 ", "0042", "42"),
        ("42.0", "42.0", "42"),
        ("42.00", "42.00", "42"),
        ("000", "000", "0"),
        ("100", "100", "100"),
        ("42.5", "42.5", "42.5"),
        ("A007", "a007", "A007"),
        ("1.0.0", "1.0.0", "1.0.0"),
    ],
)
def test_an_id_by_the_keys(text: str, folded: str, stripped: str) -> None:
    for key, wanted in (("fold_case", folded), ("strip_zeros", stripped)):
        source = Source.model_construct(**{**Source().model_dump(), key: True})
        [(in_sql,)] = duckdb.sql(f"select trim({id_text('$t', 'customer_id', source)})", params={"t": text}).fetchall()
        assert in_sql == read_id(text, source).strip() == wanted
    [(kept,)] = duckdb.sql(f"select {id_text('$t', 'customer_id', Source())}", params={"t": text}).fetchall()
    assert kept == read_id(text, Source()) == text if text == text.strip() else kept == text


def test_what_is_said_of_ids() -> None:
    ids = ["A", "a", "7", "07", "7.0", "0", None, " "] + ["guest"] * 60
    with duckdb.connect() as connection:
        connection.execute("create table rows as select unnest($ids) as who", {"ids": ids})
        seen = figures(connection, "rows", "who")
        assert seen is not None
        assert (seen.ids, seen.folded, seen.stripped, seen.rows) == (7, 6, 5, 66)
        assert seen.is_implausible
        assert (seen.most, seen.most_rows, seen.next_rows) == ("guest", 60, 1)
        assert seen.placeholders == {"guest": 60, "0": 1}
        assert figures(connection, "(from rows where who is null)", "who") is None


def test_ids_of_nobody_are_set_aside_and_no_fault(tmp_path: Path) -> None:
    ids = ("Guest", "guest", "guest", "GUEST", "0042", "42.0")
    rows = [f"{who},2020-01-01,{number}" for number, who in enumerate(ids)]
    settings = configure(tmp_path, [*rows, "z,2020-01-09,1"])
    source = settings.source.model_copy(update={"nobody": ("guest",), "strip_zeros": True})
    settings = settings.model_copy(update={"source": source})
    night = night_of(settings, "2020-01-02")
    extract(settings, night)
    assert validate(settings, night) == {"rows_read": 6, "rows_accepted": 2, "rows_quarantined": 4}
    assert pd.read_parquet(settings.state.accepted(night))["customer_id"].tolist() == ["42", "42"]
    assert set(pd.read_parquet(settings.state.quarantine(night))["reason"]) == {"customer_id_nobody"}
