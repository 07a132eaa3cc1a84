"""Kinds of bad rows, and of odd ones that are good: each with the reason for which validation sets it aside, or with
the columns of the accepted event. All of them stand in one CSV of a shop in Berlin, a row a kind, beside good rows.

`pipeline.validation.rules` holds the rules; this table holds their outcome for rows that sources really send.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = ["kind", "id", "who", "when", "what", "eur", "pieces"]
COLUMNS = {
    "kind": "kind",
    "event_id": "id",
    "customer_id": "who",
    "event_time": "when",
    "event_type": "what",
    "amount": "eur",
    "quantity": "pieces",
}
GOOD = {"who": "c1", "when": "2020-11-02 10:00:00", "what": "purchase", "eur": "5.5", "pieces": "2"}
CUTOFF = "2020-12-01"
SETTINGS = """
[source]
kind = "csv"
path = "events.csv"
timezone = "Europe/Berlin"
categorical = ["kind"]
[source.columns]
{columns}
[validation]
max_quarantined_share = 1.0
"""
GOOD_LINE, GOOD_ROWS = "good,g{},c2,2020-11-30 12:00,purchase,1,1", 2_000
LAST = '"the row that closes the day",last,c1,2020-12-01 10:00,purchase,1,1'
INJECTION = "'; drop table events; --"
FORMULA = "=cmd|' /C calc'!A0"
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"


@dataclass(frozen=True)
class BadRow:
    """A good row with other `values`; the reason that it must get, or None where it must be accepted, with the values
    of the event that are checked. `line` is the row as it is written, where columns cannot express it.
    """

    kind: str
    values: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    event: Mapping[str, Any] = field(default_factory=dict)
    line: bytes | None = None


def _at(kind: str, when: str, reason: str | None = None, utc: str = "") -> BadRow:
    return BadRow(kind, {"when": when}, reason, {"event_time": utc} if utc else {})


def _costs(kind: str, eur: str, reason: str | None = None, amount: float | None = None) -> BadRow:
    return BadRow(kind, {"eur": eur}, reason, {} if reason else {"amount": amount})


ROWS = [
    BadRow("no customer", {"who": ""}, "customer_id_missing"),
    BadRow("a customer of blanks", {"who": "   "}, "customer_id_missing"),
    BadRow("a customer of a no-break space", {"who": "\u00a0"}, "customer_id_missing"),
    BadRow("a tab in a customer", {"who": "c1\t"}, "customer_id_control_character"),
    BadRow("a customer called NULL", {"who": "NULL"}, "customer_id_placeholder"),
    BadRow("a customer called nan", {"who": "nan"}, "customer_id_placeholder"),
    BadRow("a padded customer", {"who": "  c1  "}, None, {"customer_id": "c1"}),
    BadRow("a customer in capitals is another", {"who": "C1"}, None, {"customer_id": "C1"}),
    BadRow("a customer with a composed accent", {"who": COMPOSED}, None, {"customer_id": COMPOSED}),
    BadRow("a customer with a combining accent is another", {"who": DECOMPOSED}, None, {"customer_id": DECOMPOSED}),
    BadRow("SQL for a customer", {"who": INJECTION}, None, {"customer_id": INJECTION}),
    BadRow("a formula for a customer", {"who": FORMULA}, None, {"customer_id": FORMULA}),
    BadRow("markup for a customer", {"who": "<script>alert(1)</script>"}, None),
    BadRow("leading zeros of a customer", {"who": "007"}, None, {"customer_id": "007"}),
    BadRow("a customer of 10,000 characters", {"who": "x" * 10_000}, None, {"customer_id": "x" * 10_000}),
    BadRow("no event id", {"id": ""}, "event_id_missing"),
    BadRow("an event id of blanks", {"id": "  "}, "event_id_missing"),
    BadRow("no event type", {"what": ""}, "event_type_missing"),
    _at("no time", "", "event_time_missing"),
    _at("a time of blanks", "  ", "event_time_missing"),
    _at("a word for a time", "yesterday", "event_time_unreadable"),
    _at("a month 13", "2020-13-01", "event_time_unreadable"),
    _at("a 30th of February", "2020-02-30", "event_time_unreadable"),
    _at("a time of zeros", "0000-00-00 00:00:00", "event_time_unreadable"),
    _at("an hour 25", "2020-11-02 25:00", "event_time_unreadable"),
    _at("milliseconds among dates", "1604311200000", "event_time_unreadable"),
    _at("another way of writing among dates", "02.11.2020 10:00", "event_time_unreadable"),
    _at("a time before 1970", "1969-12-31 22:00:00", "event_time_before_1970"),
    _at("a time of minus infinity", "-infinity", "event_time_unreadable"),
    _at("an empty clock", "1970-01-01 01:00:00", "event_time_of_empty_clock"),
    _at("seconds taken for milliseconds", "1970-01-19 14:38:31", "event_time_of_empty_clock"),
    _at("a time to come", "2099-01-01", "event_time_in_future"),
    _at("the last time there is", "9999-12-31 23:59:59", "event_time_in_future"),
    _at("a time of infinity", "infinity", "event_time_unreadable"),
    _at("milliseconds taken for seconds", "52808-03-15 08:00:00", "event_time_in_future"),
    _at("an hour that the clocks skipped", "2020-03-29 02:30:00", "event_time_skipped"),
    _at("an hour that the clocks had twice", "2020-10-25 02:30:00", None, "2020-10-25 01:30:00"),
    _at("a time without a zone", "2020-11-02 10:00:00", None, "2020-11-02 09:00:00"),
    _at("a time in UTC", "2020-11-02T10:00:00Z", None, "2020-11-02 10:00:00"),
    _at("a time with an offset", "2020-11-02 10:00:00-05:00", None, "2020-11-02 15:00:00"),
    _at("a time that names its zone", "2020-11-02 10:00:00 Asia/Tokyo", None, "2020-11-02 01:00:00"),
    _at("a padded time", "  2020-11-02 10:00:00 ", None, "2020-11-02 09:00:00"),
    _at("a day without a time", "2020-11-02", None, "2020-11-01 23:00:00"),
    _costs("an amount that is not there", "", None, None),
    _costs("a word for an amount", "five", "amount_unreadable"),
    _costs("a decimal comma", '"5,50"', None, 5.5),
    _costs("a comma for thousands", '"1,234.50"', None, 1234.5),
    _costs("a currency in an amount", "5.50 EUR", None, 5.5),
    _costs("true for an amount", "true", "amount_unreadable"),
    _costs("an amount that is not a number", "NaN", "amount_not_finite"),
    _costs("an infinite amount", "-inf", "amount_not_finite"),
    _costs("an amount too large for a float", "1e400", "amount_not_finite"),
    _costs("an absurd amount", "1000000001", "amount_absurd"),
    _costs("an amount of 0", "0", None, 0.0),
    _costs("a refund", "-12.50", None, -12.5),
    _costs("an amount with an exponent", "1.25e2", None, 125.0),
    BadRow("a word for a quantity", {"pieces": "some"}, "quantity_unreadable"),
    BadRow("an absurd quantity", {"pieces": "-2e9"}, "quantity_absurd"),
    BadRow("10,000 litres of fuel", {"pieces": "10000", "what": "fuel"}, None, {"quantity": 10_000.0}),
    BadRow("a column too many", line=b"a column too many,r1,c1,2020-11-02,purchase,5,1,more", reason="unreadable"),
    BadRow("a column too few", line=b"a column too few,r2,c1,2020-11-02", reason="unreadable"),
    BadRow("Latin-1 in UTF-8", line=b"Latin-1 in UTF-8,r3,Jos\xe9,2020-11-02,purchase,5,1", reason="unreadable"),
    BadRow(
        "a null byte",
        line=b"a null byte,r4,c\x001,2020-11-02,purchase,5,1",
        reason="customer_id_control_character",
    ),
    BadRow(
        "a line end in a customer",
        line=b'"a line end in a customer",r5,"c\n1",2020-11-02,purchase,5,1',
        reason="customer_id_control_character",
    ),
]


def same_ids() -> dict[str, list[str]]:
    """Lines that share their event id, by their outcome: exact repeats are known already, those that differ are set
    aside as `event_id_conflict`.
    """
    row = "{kind},{id},c1,2020-11-02 10:00:00,purchase,{eur},1"
    return {
        "repeated": [row.format(kind="an exact repeat", id="same", eur=5)] * 3,
        "event_id_conflict": [row.format(kind="a conflicting repeat", id="apart", eur=eur) for eur in (5, 6)],
    }


def lines() -> Iterator[bytes]:
    """The CSV: its header, a row a kind, the rows that share ids, and a row that closes the last day."""
    yield ",".join(HEADER).encode()
    for number, row in enumerate(ROWS):
        values = {"kind": f'"{row.kind}"', "id": f"e{number}"} | GOOD | dict(row.values)
        yield row.line or ",".join(values[column] for column in HEADER).encode()
    for repeats in same_ids().values():
        yield from (line.encode() for line in repeats)
    yield from (GOOD_LINE.format(number).encode() for number in range(GOOD_ROWS))
    yield LAST.encode()


def write(folder: Path) -> Path:
    """The CSV and a `recur.toml` for it; returns the latter."""
    (folder / "events.csv").write_bytes(b"\n".join(lines()) + b"\n")
    columns = "\n".join(f'{name} = "{column}"' for name, column in COLUMNS.items())
    (folder / "recur.toml").write_text(SETTINGS.format(columns=columns), "utf-8")
    return folder / "recur.toml"
