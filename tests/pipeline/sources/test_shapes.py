"""Shapes in which shops, banks and analytics tools hand over their logs: each is read rightly, or refused by name."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.settings import load_settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.factory import open_source
from tests.support.worlds.csv_nights import day

COLUMNS = {"customer_id": "who", "event_time": "when", "amount": "eur"}
ROWS = [("a", "2024-01-03 08:00:00", "1.5"), ("b", "2024-01-04 09:00:00", "2"), ("z", "2024-02-01 00:00:00", "3")]
CSV = "\n".join(",".join(row) for row in [("who", "when", "eur"), *ROWS])
OBJECTS = [dict(zip(("who", "when", "eur"), row, strict=True)) for row in ROWS]
READ = ["a 2024-01-03 08:00:00+00 1.5", "b 2024-01-04 09:00:00+00 2"]
Write = Callable[[Path], object]


def read(folder: Path, path: str, columns: dict[str, str] | None = None, keys: str = "") -> list[str]:
    """The customers, times and amounts of January, as they are staged."""
    kind = "csv" if ".json" not in path else "json_lines"
    kind = "parquet" if path.endswith("parquet") else kind
    mapped = "\n".join(f'{name} = "{column}"' for name, column in (columns or COLUMNS).items())
    source = f'[source]\nkind = "{kind}"\npath = "{path}"\n{keys}\n[source.columns]\n{mapped}\n'
    (folder / "recur.toml").write_text(source, "utf-8")
    staged = folder / "staged.parquet"
    open_source(load_settings(folder / "recur.toml")).extract(Night(None, day("2024-02-01")), staged)
    assert not [*(folder / "var").rglob("rewritten*"), *(folder / "var").rglob("unpacked*")]
    rows = pd.read_parquet(staged)
    return [" ".join(map(str, row)) for row in rows[["customer_id", "event_time", "amount"]].itertuples(index=False)]


def text(content: str, name: str = "e.csv") -> Write:
    return lambda folder: (folder / name).write_text(content, "utf-8")


def zipped(folder: Path) -> None:
    with ZipFile(folder / "e.zip", "w") as archive:
        archive.writestr("__MACOSX/._e.csv", "")
        archive.writestr("export/e.csv", CSV.replace("\n", "\r\n"))


def zip_of_two(folder: Path) -> None:
    with ZipFile(folder / "e.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, CSV)


def partitioned(folder: Path) -> None:
    for who, when, eur in ROWS:
        name = folder / f"when={when[:10]}"
        name.mkdir()
        (name / "part-0.csv").write_text(f"who,eur\n{who},{eur}\n")


def in_files(*contents: str) -> Write:
    return lambda folder: [(folder / f"e-{n}.csv").write_text(content) for n, content in enumerate(contents)]


SHAPES: dict[str, tuple[Write, str]] = {
    "a line for Excel above the header": (text("sep=;\r\n" + CSV.replace(",", ";")), "e.csv"),
    "empty columns at the end": (text("\n".join(line + ",," for line in CSV.split("\n"))), "e.csv"),
    "a column twice that is not mapped": (text("\n".join(line + ",n,N" for line in CSV.split("\n"))), "e.csv"),
    "blanks and capitals in the header": (text(CSV.replace("who,when,eur", " Who ,WHEN,eur ")), "e.csv"),
    "a zip of one file": (zipped, "e.zip"),
    "a JSON array": (text(json.dumps(OBJECTS), "e.json"), "e.json"),
    "a JSON array over several lines": (text("\n" + json.dumps(OBJECTS, indent=1), "e.json"), "e.json"),
    "an array in a gzip": (
        lambda folder: (folder / "e.json.gz").write_bytes(gzip.compress(json.dumps(OBJECTS).encode())),
        "e.json.gz",
    ),
    "objects over several lines": (text("\n".join(json.dumps(o, indent=1) for o in OBJECTS), "e.json"), "e.json"),
    "folders below folders": (
        lambda folder: [(folder / "2024" / "01").mkdir(parents=True), (folder / "2024/01/e.csv").write_text(CSV)],
        "**/*.csv",
    ),
    "columns in other letters and another order in each file": (
        in_files("\n".join(CSV.split("\n")[:2]), "EUR,Who,When\n2,b,2024-01-04 09:00:00\n3,z,2024-02-01 00:00:00"),
        "e-*.csv",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape(tmp_path: Path, shape: str) -> None:
    write, path = SHAPES[shape]
    write(tmp_path)
    assert read(tmp_path, path) == READ


def test_a_day_that_only_the_folders_name(tmp_path: Path) -> None:
    partitioned(tmp_path)
    assert read(tmp_path, "*/part-*.csv") == ["a 2024-01-03 00:00:00+00 1.5", "b 2024-01-04 00:00:00+00 2"]


def test_a_number_that_some_files_lack(tmp_path: Path) -> None:
    in_files("who,when\na,2024-01-03 08:00:00", "\n".join([CSV.split("\n")[0], *CSV.split("\n")[2:]]))(tmp_path)
    assert read(tmp_path, "e-*.csv") == ["a 2024-01-03 08:00:00+00 nan", READ[1]]
    (tmp_path / "e-1.csv").write_text("who,when\nz,2024-02-01")
    with pytest.raises(RecurError, match=r"columns.amount is 'eur', which"):
        read(tmp_path, "e-*.csv", keys='timezone = "CET"')


DOTTED = {"customer_id": "user.id", "event_time": "when", "amount": "items.0.price"}


def nested(who: str, when: str, eur: str) -> dict[str, object]:
    return {"user": {"id": who}, "when": when, "items": [{"price": float(eur)}, {"price": 9.125}]}


def test_a_dotted_path_into_lines_of_json(tmp_path: Path) -> None:
    text("\n".join(json.dumps(nested(*row)) for row in ROWS), "e.jsonl")(tmp_path)
    wanted = [READ[0], READ[1] + ".0"]
    assert read(tmp_path, "e.jsonl", DOTTED) == wanted
    with pytest.raises(
        RecurError, match=r"is 'user.idd', which .* has not: 'user.id' is nearest; it has items, .*user"
    ):
        read(tmp_path, "e.jsonl", DOTTED | {"customer_id": "user.idd"})


def test_a_dotted_path_into_a_column_of_json_and_a_structure(tmp_path: Path) -> None:
    rows = [(json.dumps(nested(*row)).replace('"', '""'), row) for row in ROWS]
    text("\n".join(["p,when", *(f'"{payload}",{row[1]}' for payload, row in rows)]))(tmp_path)
    columns = {"customer_id": "p.user.id", "event_time": "when", "amount": "p.items.0.price"}
    wanted = [READ[0], READ[1] + ".0"]
    assert read(tmp_path, "e.csv", columns) == wanted
    pq.write_table(pa.Table.from_pylist([nested(*row) for row in ROWS]), tmp_path / "e.parquet")
    assert read(tmp_path, "e.parquet", DOTTED) == wanted


def test_a_name_with_a_dot_is_a_name_first(tmp_path: Path) -> None:
    objects = [{"user.id": who, "user": {"id": "x"}, "when": when, "eur": eur} for who, when, eur in ROWS]
    text("\n".join(map(json.dumps, objects)), "e.jsonl")(tmp_path)
    assert read(tmp_path, "e.jsonl", COLUMNS | {"customer_id": "user.id"}) == READ


@pytest.mark.parametrize(
    ("write", "path", "words"),
    [
        (text(f"Report\n\n{CSV}"), "e.csv", r"its line 3 names them: set source.header_row = 3"),
        (text(json.dumps(OBJECTS[0])), "e.csv", 'is JSON: set source.kind = "json_lines"'),
        (
            text(CSV.replace(",", ";").replace("eur", "eur;a, b, c, d, e")),
            "e.csv",
            'names them: set source.header_row = 1 and source.delimiter = ";"',
        ),
        (text(CSV.replace("eur", "euros")), "e.csv", r"'euros' is nearest; it has who, when, euros"),
        (text(CSV.replace("eur", "who")), "e.csv", "has the column 'who' twice: rename one of them"),
        (zip_of_two, "e.zip", r"zip archive of 2 files \(a.csv, b.csv\): unpack it first"),
        (lambda folder: (folder / "e.csv").mkdir(), "e.csv", r"is a folder: set source.path to the files in it, as"),
        (
            lambda folder: (folder / "e.csv").write_bytes(CSV.replace("2024", "é2024").encode("latin-1")),
            "e.csv",
            r"3 lines cannot be taken apart, as where they are not UTF-8 \(source.encoding\)",
        ),
        (text('[{"who": "a"}, {"wh', "e.json"), "e.json", "cannot be read as JSON"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, write: Write, path: str, words: str) -> None:
    write(tmp_path)
    with pytest.raises(RecurError, match=words):
        read(tmp_path, path)
