"""How a file is written, as the configuration says: its letters, what stands between columns, its header's line."""

import gzip
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
