"""How a file is written, as the configuration says: its letters, what stands between columns, its header's line."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.settings import load_settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.factory import open_source
from tests.support.worlds.csv_nights import day

HEADER, ROWS = "who;when;café", ["é1;2020-01-01 08:00;1", "b;2020-01-02 08:00;2", "z;2020-01-09;3"]


def read(folder: Path, content: bytes, name: str = "e.csv", **keys: str) -> list[str]:
    """The customers and amounts of the first two days."""
    (folder / name).write_bytes(content)
    lines = ["[source]", 'kind = "csv"', f'path = "{name}"', *(f"{key} = {value}" for key, value in keys.items())]
    columns = ["[source.columns]", 'customer_id = "who"', 'event_time = "when"', 'amount = "café"']
    (folder / "recur.toml").write_text("\n".join([*lines, *columns]), "utf-8")
    staged = folder / "staged.parquet"
    open_source(load_settings(folder / "recur.toml")).extract(Night(None, day("2020-01-03")), staged)
    assert not list((folder / "var" / "source").rglob("rewritten*"))
    rows = pd.read_parquet(staged)
    return [f"{customer} {amount}" for customer, amount in zip(rows.customer_id, rows.amount, strict=True)]


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252", "UTF-8", "latin-1"])
def test_an_encoding(tmp_path: Path, encoding: str) -> None:
    content = "\n".join([HEADER, *ROWS]).encode(encoding)
    assert read(tmp_path, content, encoding=f'"{encoding}"') == ["é1 1", "b 2"]


def test_a_header_after_a_title_in_a_gzip(tmp_path: Path) -> None:
    content = "\n".join(["Umsätze, Januar", "", HEADER, *ROWS]).encode("utf-8-sig")
    assert read(tmp_path, gzip.compress(content), "e.csv.gz", header_row="3") == ["é1 1", "b 2"]


def test_a_line_that_is_no_utf8_is_kept_apart_after_a_title_too(tmp_path: Path) -> None:
    content = "\n".join(["title", HEADER, *ROWS]).encode().replace("é1".encode(), b"\xe91")
    assert read(tmp_path, content, header_row="2") == ["b 2", "nan nan"]


def test_a_delimiter_that_no_header_would_show(tmp_path: Path) -> None:
    content = "\n".join([HEADER, *ROWS]).replace(";", "^").encode()
    assert read(tmp_path, content, delimiter='"^"') == ["é1 1", "b 2"]


@pytest.mark.parametrize("kind", ["csv", "json_lines"])
def test_a_time_in_two_columns(tmp_path: Path, kind: str) -> None:
    rows = [("a", "01/02/2024", "19:18:37"), ("b", "01/13/2024", ""), ("c", "", " "), ("z", "01/30/2024", "08:00:00")]
    lines = ["who,Date,Time", *(",".join(row) for row in rows)]
    if kind == "json_lines":
        lines = [json.dumps(dict(zip(("who", "Date", "Time"), row, strict=True))) for row in rows]
    (tmp_path / "e").write_text("\n".join(lines))
    columns = '[source.columns]\ncustomer_id = "who"\nevent_time = ["Date", "Time"]\n'
    source = f'[source]\nkind = "{kind}"\npath = "e"\ntimezone = "America/New_York"\n'
    (tmp_path / "recur.toml").write_text(source + columns)
    staged = tmp_path / "staged.parquet"
    open_source(load_settings(tmp_path / "recur.toml")).extract(Night(None, day("2024-01-29")), staged)
    times = pd.read_parquet(staged).set_index("customer_id").event_time.dropna().to_dict()
    assert times == {"a": "2024-01-03 00:18:37+00", "b": "2024-01-13 05:00:00+00"}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ('event_time = ["Date", "Hour"]', "source.columns.event_time is 'Hour', which"),
        ('event_time = "Date"\namount = ["Date", "Time"]', "columns.amount names several columns"),
    ],
)
def test_several_columns_that_are_no_time(tmp_path: Path, columns: str, words: str) -> None:
    (tmp_path / "e").write_text("who,Date,Time\na,2024-01-01,08:00")
    keys = f'[source]\nkind = "csv"\npath = "e"\n[source.columns]\ncustomer_id = "who"\n{columns}\n'
    (tmp_path / "recur.toml").write_text(keys)
    with pytest.raises(ConfigurationError, match=words):
        open_source(load_settings(tmp_path / "recur.toml")).span()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoding": '"ascii"'}, "is not in ascii .*set source.encoding"),
        ({"header_row": "9"}, "has fewer than 9 lines: set source.header_row"),
    ],
)
def test_what_a_file_is_not(tmp_path: Path, keys: dict[str, str], words: str) -> None:
    with pytest.raises(RecurError, match=words):
        read(tmp_path, "\n".join([HEADER, *ROWS]).encode(), **keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoding": '"klingon"'}, "is no encoding"),
        ({"delimiter": '";;"'}, "is not one character"),
        ({"header_row": "0"}, "header_row"),
    ],
)
def test_keys_that_say_nothing(tmp_path: Path, keys: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read(tmp_path, b"", **keys)
