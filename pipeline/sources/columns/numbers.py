"""How a file writes its numbers: plain, or with a decimal comma, thousands, a currency, a sign behind, brackets.

Most texts can be read in one way only, and are. One point or comma before three digits cannot: 1.250 is 1.25 or 1250.
For those the column decides, by its other values, and where it cannot the configuration must.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from pipeline.runtime.engine import literal

POINT, COMMA = ".", ","
OTHER = {POINT: COMMA, COMMA: POINT}
LONGEST = 40  # characters; what is longer is no number
_BLANK = "\\s\u00a0\u2007\u2009\u202f"
_BETWEEN = f"'\u2019_{_BLANK}"
_MINUS = "-\u2212"
_SYMBOLS = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code)) == "Sc")
_CODES = (
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR JPY KES KRW MAD MXN MYR NGN NOK "
    "NZD PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD UYU VND ZAR"
)
_MONEY = rf"[A-Z]{{0,3}}[{_SYMBOLS}]|{_CODES.replace(' ', '|')}|kr\.?|zł|Kč|Ft|lei|Fr\.?|Rs\.?|RM|TL|DM"
_GROUPS = ("open", "lead", "before", "sign", "core", "trail", "after", "end", "close")
_WHOLE = (
    rf"^[{_BLANK}]*(\()?[{_BLANK}]*([{_MINUS}+])?[{_BLANK}]*({_MONEY})?[{_BLANK}]*([{_MINUS}+])?[{_BLANK}]*"
    rf"([0-9.,](?:[0-9.,{_BETWEEN}]*[0-9.,])?)"
    rf"[{_BLANK}]*([{_MINUS}])?[{_BLANK}]*({_MONEY})?[{_BLANK}]*([{_MINUS}])?[{_BLANK}]*(\))?[{_BLANK}]*$"
)
_DASHES = "\u2013\u2014"
_NOTHING = rf"^[{_BLANK}]*(?:(?i:null)|\\N|--?|[{_DASHES}])[{_BLANK}]*$"
"""What databases write for no number, and bookkeepers for nothing."""
_PLAIN = r"^(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)$"
_MOST = {  # what most columns are, which is told at once
    "whole": "[-+]?[0-9]+",
    "point": r"[-+]?[0-9]*\.([0-9]{1,2}|[0-9]{4,})",
    "comma": "[-+]?[0-9]*,([0-9]{1,2}|[0-9]{4,})",
}
_ONE_GROUP = {POINT: r"^[1-9][0-9]{0,2}\.[0-9]{3}$", COMMA: r"^[1-9][0-9]{0,2},[0-9]{3}$"}
_GROUPED = {  # 12,34,567 too, as India writes
    POINT: r"^[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+,[0-9]*|(?:\.[0-9]{3}){2,})$",
    COMMA: r"^[1-9][0-9]{0,2}(?:(?:,[0-9]{2,3})*,[0-9]{3}\.[0-9]*|(?:,[0-9]{2,3})+,[0-9]{3})$",
}
_SPACED = rf"^[0-9]{{1,3}}(?:[{_BETWEEN}][0-9]{{3}})+(?:[.,][0-9]*)?$"


class Form(NamedTuple):
    """How one text writes its number: as the engine reads it, where a point is decimal (`plain`), or not; its decimal
    sign, where it shows one; the sign that may be decimal or between thousands (`ambiguous`); what stands between
    thousands; the currency; whether it says that there is none (`nothing`).
    """

    plain: bool
    decimal: str | None = None
    ambiguous: str | None = None
    thousands: str | None = None
    money: str | None = None
    nothing: bool = False


def form_of(text: str) -> Form | None:
    """The form of `text`; None where it is no number."""
    match = re.match(_WHOLE, text)
    if match is None:
        if re.match(_NOTHING, text):
            return Form(plain=False, nothing=True)
        try:
            float(text if text.isascii() else "no digits of the engine's")  # 1e-05, or what is not finite
        except ValueError:
            return None
        return Form(plain="_" not in text)
    fields = dict(zip(_GROUPS, (group or "" for group in match.groups()), strict=True))
    signs = [fields[name] for name in ("open", "lead", "sign", "trail", "end") if fields[name]]
    if len(signs) > 1 or bool(fields["open"]) != bool(fields["close"]) or (fields["before"] and fields["after"]):
        return None
    core, money = fields["core"], fields["before"] or fields["after"] or None
    as_engine = re.match(r"^[-+]?[0-9.]+$", text.strip()) is not None
    for mark in (POINT, COMMA):
        if re.match(_ONE_GROUP[mark], core):
            return Form(plain=as_engine, ambiguous=mark, money=money)
        if re.match(_GROUPED[mark], core):
            return Form(plain=False, decimal=OTHER[mark], thousands=mark, money=money)
    shown = next((mark for mark in (POINT, COMMA) if mark in core), None)
    if re.match(_PLAIN, core):
        return Form(plain=as_engine, decimal=shown, money=money)
    if re.match(_SPACED, core):
        between = re.sub(r"[0-9.,]", "", core)[0]
        return Form(plain=False, decimal=shown, thousands="'" if between in "'\u2019" else between, money=money)
    return None


@dataclass
class Evidence:
    """What the values of a column show: how many there are; how many are written otherwise than the engine reads
    numbers; how many say that there is none; how many have each decimal sign, each ambiguous sign, each thousands sign
    and each currency; how many are no number; and an example of each. `stored`: they are stored as numbers, not
    written.
    """

    stored: bool = False
    values: int = 0
    written: int = 0
    nothing: int = 0
    decimal: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)
    thousands: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, count: int) -> None:
        """Adds `count` values that are written as `text` is."""
        self.values += count
        form = form_of(text)
        if form is None:
            self.unreadable += count
            self.examples.setdefault("unreadable", text)
            return
        self.written += 0 if form.plain else count
        if form.nothing:
            self.nothing += count
            self.examples.setdefault("nothing", text)
            return
        self.examples.setdefault("plain", text)
        for name in ("decimal", "ambiguous", "thousands", "money"):
            if (mark := getattr(form, name)) is not None:
                getattr(self, name)[mark] += count
                self.examples.setdefault(f"{name} {mark}", text)

    def is_plain(self, decimal: str | None) -> bool:
        """Whether the engine reads all values as they are, where `decimal` is their decimal sign."""
        return not self.written and not (decimal == COMMA and self.ambiguous[POINT])

    @property
    def shown(self) -> str | None:
        """The decimal sign that the values show; None where they show none, or both, and neither is rare."""
        (most, count), *rest = [*self.decimal.most_common(), (None, 0)]
        return most if most is not None and rest[0][1] <= RARE * count else None

    @property
    def doubtful(self) -> tuple[str, str]:
        """The more frequent of the ambiguous signs, and an example."""
        [(mark, _)] = self.ambiguous.most_common(1)
        return mark, self.examples[f"ambiguous {mark}"]

    @property
    def example(self) -> str | None:
        """The text that shows most of how the column is written."""
        kinds = ("thousands", "ambiguous", "money", "decimal", "plain")
        return next((text for kind in kinds for name, text in self.examples.items() if name.startswith(kind)), None)

    def contradicts(self, before: str | None) -> bool:
        """Whether values show both decimal signs, or another than those before."""
        return (len(self.decimal) > 1 and self.shown is None) or (
            before is not None and self.shown is not None and self.shown != before
        )


RARE = 0.01
"""The share of values with the other decimal sign up to which they say nothing about the column."""


def survey(connection: duckdb.DuckDBPyConnection, rows: str, columns: Mapping[str, str]) -> dict[str, Evidence]:
    """What the values of each of `columns`, a name and an SQL identifier, show. `rows` is an SQL relation, read once.
    Texts that differ in their digits alone are counted together, so that few come here.
    """
    evidence = {name: Evidence() for name in columns}
    if not columns:
        return evidence
    derived, sets, selected = [], [], []
    for number, text in enumerate(columns.values()):
        most = " ".join(f"when {_is(text, kind)} then {literal(kind)}" for kind in _MOST)
        leads = f"left(ltrim({text}, ' -+($€£¥'), 1) = '0'"  # 0.125 has no thousands, 1.125 may
        shape = f"translate({text}, '123456789', '000000000') || if({leads}, 'z', '')"
        others = f"when length({text}) <= {LONGEST} then {shape} else 'long'"
        derived.append(f"nullif(trim({text}), '') as t{number}")
        derived.append(f"case {most} {others} end as s{number}")
        sets.append(f"(s{number})")
        selected.append(f"grouping(s{number}), count(t{number}), max(t{number})")
    query = f"""
        select {", ".join(selected)} from (select {", ".join(derived)} from {rows})
        group by grouping sets ({", ".join(sets)})
    """
    shapes = connection.execute(query).fetchall()
    for number, name in enumerate(columns):
        of_column = (row[3 * number : 3 * number + 3] for row in shapes)
        counted = [(count, example) for absent, count, example in of_column if not absent and count]
        for count, example in sorted(counted, key=lambda each: (-each[0], each[1])):
            evidence[name].add(example, count)
    return evidence


def canonical(text: str, decimal: str | None) -> str:
    """An SQL expression: the number that the SQL expression `text` writes, as text with a decimal point and nothing
    else but digits and a sign; null where it is none. `decimal` is the column's decimal sign.
    """
    fields = f"regexp_extract({text}, {literal(_WHOLE)}, [{', '.join(map(literal, _GROUPS))}])"
    core = f"{fields}.core"
    cases = [
        f"when {_matches(core, _ONE_GROUP[mark])} then replace({core}, {literal(mark)}, '')"
        for mark in (POINT, COMMA)
        if decimal == OTHER[mark]
    ]
    cases.append(f"when {_matches(core, _PLAIN)} then replace({core}, ',', '.')")
    cases += [
        f"when {_matches(core, _GROUPED[mark])} then replace(replace({core}, {literal(mark)}, ''), ',', '.')"
        for mark in (POINT, COMMA)
    ]
    between = literal(f"[{_BETWEEN}]")
    cases.append(f"when {_matches(core, _SPACED)} then replace(regexp_replace({core}, {between}, '', 'g'), ',', '.')")
    signs = [f"{fields}.{name}" for name in ("open", "lead", "sign", "trail", "end")]
    count = " + ".join(f"({sign} <> '')::int" for sign in signs)
    negative = " or ".join(f"{sign} in ('(', '-', '\u2212')" for sign in signs)
    paired = f"({fields}.open = '') = ({fields}.close = '') and ({fields}.before = '' or {fields}.after = '')"
    digits = f"case {' '.join(cases)} end"
    other = f"when {count} <= 1 and {paired} then if({negative}, '-', '') || {digits}"
    nothing = f"when {_matches(text, _NOTHING)} then ''"
    most = f"when {_is(text, 'whole')} then {text} when {_is(text, 'comma')} then replace({text}, ',', '.')"
    return f"case {most} {nothing} {other} end"


def _is(text: str, kind: str) -> str:
    return f"regexp_full_match({text}, {literal(_MOST[kind])})"


def _matches(text: str, pattern: str) -> str:
    return f"regexp_matches({text}, {literal(pattern)})"
