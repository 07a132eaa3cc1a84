"""Kinds of bad files, and of odd ones that are good: each with the error that a run must end in, or with how many of
its rows are read and for which reasons some are set aside.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "who,when,eur"
ROWS = [f"c{number},2020-01-01 {number:02d}:00:00,5.5" for number in range(20)]
LAST = "z,2020-01-09,1"
CUTOFF = "2020-01-02"
COLUMNS = {"customer_id": "who", "event_time": "when", "amount": "eur"}

Write = Callable[[Path], None]


@dataclass(frozen=True)
class BadFile:
    """`write` makes the file `name` in a folder. The run ends in an `error` (a regular expression of its one line), or
    it reads and accounts for `rows` rows of the night and sets some `aside`, counted by reason.
    """

    kind: str
    write: Write
    error: str = ""
    rows: int = len(ROWS)
    aside: Mapping[str, int] = field(default_factory=dict)
    name: str = "events.csv"
    columns: Mapping[str, str] = field(default_factory=lambda: COLUMNS)
    settings: str = ""

    @property
    def format(self) -> str:
        return {"parquet": "parquet", "jsonl": "json_lines"}.get(self.name.rsplit(".", 1)[-1], "csv")


def write(case: BadFile, folder: Path) -> Path:
    """The file of a case and a `recur.toml` for it; returns the latter."""
    case.write(folder / case.name)
    columns = "\n".join(f'{name} = "{column}"' for name, column in case.columns.items())
    source = f'[source]\nkind = "{case.format}"\npath = "{case.name}"\n[source.columns]\n{columns}\n'
    (folder / "recur.toml").write_text(source + case.settings, "utf-8")
    return folder / "recur.toml"


def _bytes(content: bytes) -> Write:
    return lambda path: _ignore(path.write_bytes(content))


def _csv(*rows: str, header: str = HEADER, end: str = "\n", encoding: str = "utf-8") -> Write:
    return _bytes((end.join([header, *rows]) + end).encode(encoding))


def _gzipped(keep: float) -> Write:
    content = gzip.compress("\n".join([HEADER, *ROWS * 200, LAST]).encode(), mtime=0)
    return _bytes(content[: int(len(content) * keep)])


def _parquet(**columns: pa.Array) -> Write:
    return lambda path: pq.write_table(pa.table(columns), path)


def _half_a_parquet(path: Path) -> None:
    _parquet(who=_texts("c1", "z"), when=_texts("2020-01-01", "2020-01-09"), eur=_texts("1", "1"))(path)
    path.write_bytes(path.read_bytes()[:-40])


def _rotten_parquet(path: Path) -> None:
    """A file with a whole footer and damaged pages."""
    many = [f"c{number}" for number in range(5_000)]
    _parquet(who=_texts(*many), when=_texts(*["2020-01-01"] * 5_000), eur=_texts(*many))(path)
    content = bytearray(path.read_bytes())
    content[100:2_000] = bytes(1_900)
    path.write_bytes(content)


def _one_customer_a_million_events(path: Path) -> None:
    rows = """
        select 'c1' as who, timestamp '2019-01-01' + to_seconds(i * 30) as "when", i % 90 as eur
        from range(1000000) as numbers(i)
        union all select 'z', timestamp '2020-01-09', 1
    """
    duckdb.sql(f"copy ({rows}) to '{path}' (format parquet)")


def _texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def _json(*values: object) -> Write:
    lines = (value if isinstance(value, str) else json.dumps(value) for value in values)
    return _bytes("".join(line + "\n" for line in lines).encode())


def _ignore(_: object) -> None:
    return None


_GOOD_JSON = [{"who": "c1", "when": f"2020-01-01 {hour:02d}:00", "eur": 5} for hour in range(20)]
_LAST_JSON = {"who": "z", "when": "2020-01-09", "eur": 1}
_SEMICOLONS = [row.replace(",", ";").replace("5.5", "5,5") for row in ROWS]
_MILLISECONDS = [f"c1,{1_577_836_800_000 + 3_600_000 * hour},5" for hour in range(20)]
_NO_NIGHT = "holds no row with a time from February 1970 to 2199"
_ANYTHING = "[validation]\nmax_quarantined_share = 1.0\n"

FILES = [
    BadFile("no file", _ignore, error="events.csv does not exist: set source.path"),
    BadFile("a folder for a file", Path.mkdir, error="events.csv is a folder: set source.path to the files in it"),
    BadFile("an empty file", _bytes(b""), error="it is empty"),
    BadFile("an empty gzip", _bytes(gzip.compress(b"")), error="it is empty", name="events.csv.gz"),
    BadFile("an empty Parquet", _bytes(b""), error="cannot be read as parquet", name="events.parquet"),
    BadFile("an empty JSON Lines", _bytes(b""), error="it is empty", name="events.jsonl"),
    BadFile("a header only", _csv(), error=_NO_NIGHT),
    BadFile("a header without a line end", _bytes(HEADER.encode()), error=_NO_NIGHT),
    BadFile(
        "rows without a header", _bytes("\n".join(ROWS).encode()), error="source.columns.customer_id is 'who', which"
    ),
    BadFile(
        "a mapped column that is missing", _csv(*ROWS, header="who,when,usd"), error="columns.amount is 'eur', which"
    ),
    BadFile("a column twice", _csv(*ROWS, header="who,when,who"), error="the column 'who' twice"),
    BadFile("a column more", _csv(*(f"{row},x" for row in [*ROWS, LAST]), header=f"{HEADER},shop")),
    BadFile(
        "columns in another order",
        _csv(*(",".join(reversed(row.split(","))) for row in [*ROWS, LAST]), header="eur,when,who"),
    ),
    BadFile(
        "an amount that became text",
        _csv(*(row.replace("5.5", "cheap") for row in ROWS), LAST),
        error=r"the night 2020-01-02 is refused .* amount is no number \(amount_unreadable\)",
    ),
    BadFile(
        "an amount that became a structure",
        _parquet(
            who=_texts(*["c1"] * 20, "z"),
            when=_texts(*["2020-01-01"] * 20, "2020-01-09"),
            eur=pa.array([{"value": 5, "currency": "EUR"}] * 21),
        ),
        error=r"the night 2020-01-02 is refused .* \(amount_unreadable\)",
        name="events.parquet",
    ),
    BadFile(
        "a customer kept as a float",
        _parquet(
            who=pa.array([13085.0] * 20 + [None, 1.0]),
            when=_texts(*(f"2020-01-01 {minute // 60:02d}:{minute % 60:02d}" for minute in range(21)), "2020-01-09"),
            eur=pa.array([5.5] * 22),
        ),
        rows=21,
        aside={"customer_id_missing": 1},
        name="events.parquet",
    ),
    BadFile("decimal commas", _csv(*_SEMICOLONS, "z;2020-01-09;1", header="who;when;eur")),
    BadFile(
        "thousands or decimals",
        _csv("a,2020-01-01,1.250", "b,2020-01-02,300", LAST),
        error=r"column eur: '1\.250' may be 1250 or 1\.250, .*: set source\.decimal",
    ),
    BadFile("no row with a time", _csv("a,never,1", "b,never,2"), error="no value can be read as a time, for example"),
    BadFile("day or month first", _csv("a,03/04/2020,1", "b,05/06/2020,2"), error="day or month may come first"),
    BadFile("milliseconds since 1970", _csv(*_MILLISECONDS, LAST.replace("2020-01-09", "1578528000000"))),
    BadFile(
        "milliseconds taken for seconds, all of them",
        _parquet(who=_texts("c1"), when=pa.array([1_577_836_800_000], pa.timestamp("s")), eur=pa.array([1.0])),
        error=_NO_NIGHT,
        name="events.parquet",
    ),
    BadFile("seconds taken for milliseconds, all of them", _csv("a,1970-01-19 06:17:16,1"), error=_NO_NIGHT),
    BadFile("a byte order mark", _bytes(b"\xef\xbb\xbf" + "\n".join([HEADER, *ROWS, LAST]).encode())),
    BadFile("UTF-16", _csv(*ROWS, LAST, encoding="utf-16"), error="is text in UTF-16: set source.encoding"),
    BadFile(
        "Latin-1 in the header",
        _csv(*ROWS, header="who,when,prix payé", encoding="latin-1"),
        error="not UTF-8 .*source.encoding",
    ),
    BadFile(
        "an Excel workbook", _bytes(b"PK\x03\x04 [Content_Types].xml"), error="is an Excel workbook: save the sheet"
    ),
    BadFile("a zip archive", _bytes(b"PK\x03\x04 events.txt"), error="is a zip archive that cannot be read"),
    BadFile(
        "a gzip with another name", _bytes(gzip.compress(b"who")), error="compressed by gzip: let its name end in .gz"
    ),
    BadFile("a Parquet called CSV", _bytes(b"PAR1"), error='set source.kind = "parquet"'),
    BadFile("null bytes for a header", _bytes(b"\0" * 64), error="columns.customer_id is 'who', which"),
    BadFile("line ends of Windows", _csv(*ROWS, LAST, end="\r\n")),
    BadFile("line ends of old Macs", _csv(*ROWS, LAST, end="\r")),
    BadFile(
        "mixed line ends",
        _bytes((HEADER + "\r\n" + "\n".join(ROWS) + "\r\n" + LAST).encode()),
        error="its lines end in more than one way",
    ),
    BadFile("a blank line here and there", _csv(*ROWS[:10], "", *ROWS[10:], "", LAST)),
    BadFile(
        "a quotation mark that never closes",
        _csv(*ROWS[:18], '"c18,2020-01-01 18:00:00,5.5', *ROWS[19:], LAST),
        error="the quotation mark in line 20 does not close where it should",
    ),
    BadFile(
        "a quotation mark that takes in 200,000 lines",
        _csv(*ROWS, '"c18,2020-01-01 18:00:00,5.5', *ROWS * 10_000, LAST),
        error="the quotation mark in line 22 does not close where it should",
    ),
    BadFile(
        "a quotation mark within a line",
        _csv(*ROWS, 'c"18,2020-01-01 18:00:00,5.5', '"c18"x,2020-01-01 18:00:00,5.5', LAST),
        rows=22,
        aside={"unreadable": 1},
    ),
    BadFile(
        "ragged rows",
        _csv(*ROWS, "c1,2020-01-01", "c1,2020-01-01,5,6", LAST),
        rows=22,
        aside={"unreadable": 2},
    ),
    BadFile(
        "a line of 3 million characters",
        _csv(*ROWS, f"{'x' * 3_000_000},2020-01-01,5", LAST),
        rows=21,
        aside={"unreadable": 1},
    ),
    BadFile(
        "a page of HTML", _bytes(b"<html>\n<body>503</body>\n</html>\n"), error="is a page of HTML or XML: download"
    ),
    BadFile("a gzip cut short", _gzipped(0.6), error="cannot be read", name="events.csv.gz"),
    BadFile("a gzip cut in its header", _gzipped(0.001), error="cannot be read", name="events.csv.gz"),
    BadFile("a gzip that is none", _csv(*ROWS), error="cannot be read as csv", name="events.csv.gz"),
    BadFile("a Parquet cut short", _half_a_parquet, error="cannot be read as parquet", name="events.parquet"),
    BadFile("a Parquet with rotten pages", _rotten_parquet, error="cannot be read", name="events.parquet"),
    BadFile("a CSV called Parquet", _csv(*ROWS), error="cannot be read as parquet", name="events.parquet"),
    BadFile(
        "lines that are no JSON objects",
        _json(*_GOOD_JSON, '{"who": "c1", "when', "[1, 2]", "NaN", '"text"', _LAST_JSON),
        rows=24,
        aside={"unreadable": 4},
        name="events.jsonl",
        settings=_ANYTHING,
    ),
    BadFile(
        "no JSON object at all", _json("[1]", "2"), error="none of its lines is a JSON object", name="events.jsonl"
    ),
    BadFile(
        "null, nested and absent values in JSON",
        _json(
            *_GOOD_JSON,
            {"who": None, "when": "2020-01-01"},
            {"who": "c2", "when": "2020-01-01", "eur": {"value": 5}},
            {"when": "2020-01-01", "eur": 1},
            _LAST_JSON,
        ),
        rows=23,
        aside={"customer_id_missing": 2, "amount_unreadable": 1},
        name="events.jsonl",
        settings=_ANYTHING,
    ),
]

MILLION = BadFile(
    "one customer with a million events", _one_customer_a_million_events, rows=1_000_000, name="events.parquet"
)
"""Apart from the others, since it takes seconds."""
