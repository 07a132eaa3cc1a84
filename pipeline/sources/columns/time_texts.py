"""From one of the many texts of a time to a moment, in SQL: first rewritten to the few forms that have a format, then
read by these. What a text cannot say itself, as whether 03/04/2020 is in March or in April, its column decides.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipeline.runtime.engine import literal
from pipeline.sources.expressions import plausible

DAY_FIRST, MONTH_FIRST, SHORT_YEAR_FIRST = "day first", "month first", "year of two digits first"
FIXED, COMPACT, EPOCH, EXCEL = "year or month's name", "digits alone", "time since 1970", "days since 1900, as in Excel"
RIVALS = (DAY_FIRST, MONTH_FIRST, SHORT_YEAR_FIRST)
"""The orders that fit the same texts."""

_MONTHS = {
    "Jan": "jän|ene|gen",
    "Feb": "fév|fev",
    "Mar": "mär|maa|març|mrz|mrt",
    "Apr": "avr|abr",
    "May": "mai|maj|mag|mei",
    "Jun": "juin|giu",
    "Jul": "juil|lug",
    "Aug": "aoû|aou|ago",
    "Sep": "set",
    "Oct": "okt|ott|out",
    "Dec": "dez|déc|dic",
}
"""How the names of months begin in German, French, Spanish, Italian, Portuguese and Dutch, where not as in English."""
_YEAR_END = r"(\d{4}|\d{2})(?:[:,T]| at)? ?"
REWRITTEN = (
    ("[\\s\u00a0\u2007\u2009\u202f]+", " "),
    (r"^/Date\((\d+)(?:[+-]\d{4})?\)/$", r"\1"),
    (r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", ""),
    (r"^\p{L}{2,}\.?,? (\d{1,2}\.? (?:de )?\p{L}|\d{1,4}[./-]\d)", r"\1"),
    (r"(?i) de ", " "),
    *((rf"(?i)\b(?:{names})\p{{L}}*\.?", month) for month, names in _MONTHS.items()),
    (r" ?(?:\([^)]*\)|\[[^\]]*\])$", ""),
    (r" ?(?:GMT|UTC)([+-]\d)", r" \1"),
    (r"^(\d{4}-\d\d-\d\d)T(\d\d)(\d\d)(\d\d)", r"\1T\2:\3:\4"),
    (r"^([A-Za-z]{3}) (\d{1,2}) (\d{1,2}:\d\d:\d\d) (?:([A-Z]{1,4}|[+-]\d{4}) )?(\d{4})$", r"\2 \1 \5 \3 \4"),
    (rf"^(\d{{1,2}})(?:st|nd|rd|th)?[-/., ]*(?:of )?([A-Za-z]{{3}})[a-z]*\.?[-/., ]*{_YEAR_END}", r"\1 \2 \3 "),
    (rf"^([A-Za-z]{{3}})[a-z]*\.?[-/ ]*(\d{{1,2}})(?:st|nd|rd|th)?[-/, ]+{_YEAR_END}", r"\2 \1 \3 "),
    (r"^(\d{4})[-/ ]?([A-Za-z]{3})[a-z]*\.?[-/ ]?(\d{1,2})(?:[:,T]| at)? ?", r"\3 \2 \1 "),
    (r"^(\d{4}) ?年 ?(\d{1,2}) ?月 ?(\d{1,2}) ?日 ?", r"\1/\2/\3 "),
    (r"^(\d{4})\. ?(\d{1,2})\. ?(\d{1,2})\.? ?", r"\1/\2/\3 "),
    (r"^(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:,|T|:|-| -| at| um)? (\d)", r"\1/\2/\3 \4"),
    (r"^(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:,|T|:|-)(\d)", r"\1/\2/\3 \4"),
    (r"^(\d{1,4})[.-](\d{1,2})[.-](\d{1,4})$", r"\1/\2/\3"),
    (r" (\d{1,2})[.h](\d\d)[.m](\d\d)s?", r" \1:\2:\3"),
    (r" (\d{1,2})[.h](\d\d)(?:$| )", r" \1:\2 "),
    (r" (?:Uhr|hrs?)\.?$", ""),
    (r"(:\d\d),(\d{1,9})", r"\1.\2"),
    (r"(:\d\d\.\d{6})\d+", r"\1"),
    (r"(?i)(\d) ?([ap])\.?m\b\.?", r"\1 \2M"),
    (r" +$", ""),
)
"""What is rewritten, in this order, so that few formats are left."""
MONTH_NAME = rf"(?i)\b(?:{'|'.join(_MONTHS.values())})"
MONTH_STEPS = frozenset(number for number, (_, by) in enumerate(REWRITTEN) if by in _MONTHS)
"""The steps that change nothing where no text has a `MONTH_NAME`."""

_ZONES = {"Z": 0.0, "UT": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6}
_ZONES |= {"PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2}
_ZONES |= {"EET": 2, "EEST": 3, "MSK": 3, "SAST": 2, "HKT": 8, "SGT": 8, "AWST": 8, "JST": 9, "KST": 9}
_ZONES |= {"ACST": 9.5, "ACDT": 10.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13}
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", " %I:%M:%S.%f %p", " %I %p")
_FORMATS = {
    # A year of two digits first: it refuses four, whereas %Y would read 11 as the year 11.
    DAY_FIRST: ("%d/%m/%y", "%d/%m/%Y"),
    MONTH_FIRST: ("%m/%d/%y", "%m/%d/%Y"),
    SHORT_YEAR_FIRST: ("%y/%m/%d",),
    FIXED: ("%Y/%m/%d", "%d %b %y", "%d %b %Y"),
}
_COMPACT = ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M", "%Y%m%d %H:%M:%S", "%Y%m%d %H%M%S", "%Y%m%d%H%M%S.%f", "%Y%m%dT%H%M%S.%f")
_BY_LENGTH = {6: "%y%m%d", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class Zone(NamedTuple):
    """The zone of times that name none: whether its clocks ever skip an hour, and the minutes from UTC of the short
    names that times may end in, its own before all others: BST is a British summer, or Bangladesh.
    """

    skips: bool
    minutes: Mapping[str, int]

    @classmethod
    def of(cls, name: str) -> "Zone":
        """The zone that the time zone database calls `name`."""
        minutes = {zone: round(60 * hours) for zone, hours in _ZONES.items()}
        for moment in (datetime(2024, month, 1, tzinfo=ZoneInfo(name)) for month in (1, 7)):
            own, offset = moment.tzname(), moment.utcoffset()
            if own is not None and offset is not None and own.isalpha():
                minutes[own] = round(offset.total_seconds() / 60)
        return cls(name != "UTC", minutes)

    @property
    def end(self) -> str:
        """A regular expression of how a text ends that names a zone."""
        return rf" ?({'|'.join(sorted(self.minutes, key=len, reverse=True))}|[+-]\d\d:?\d\d|[+-]\d\d)$"


class TimeText(NamedTuple):
    """SQL expressions of a text: as it was rewritten, less its zone; and that zone, '' where it names none."""

    body: str
    zone: str


def rewritten(text: str, used: Sequence[int]) -> str:
    """An SQL expression: `text` after the steps of `REWRITTEN` with the numbers `used`."""
    for number in used:
        pattern, by = REWRITTEN[number]
        text = f"regexp_replace({text}, {literal(pattern)}, {literal(by)}, 'g')"
    return text


def apart(text: str, zone: Zone, zoned: bool = True) -> TimeText:
    """The text and the zone at its end; where no text of the column is `zoned`, none is looked for."""
    if not zoned:
        return TimeText(text, "''")
    end = literal(zone.end)
    return TimeText(f"regexp_replace({text}, {end}, '')", f"regexp_extract({text}, {end}, 1)")


def formats() -> list[tuple[str, str]]:
    """Every format, with the order of day, month and year that it stands for."""
    dated = [(name, date + clock) for name, dates in _FORMATS.items() for date in dates for clock in _CLOCKS]
    return dated + [(COMPACT, text) for text in _COMPACT]


def has_format(text: TimeText, form: str) -> str:
    """An SQL predicate: whether the text has that format."""
    return f"try_strptime({text.body}, {literal(form)}) is not null"


def moments(text: TimeText, used: Sequence[tuple[str, str]], zone: Zone) -> dict[str, str]:
    """What each order of day, month and year makes of the text, by the formats `used`: SQL expressions of TIMESTAMPTZ,
    null where none fits. A text without a zone is in the session's, which is `zone`.
    """
    naive = {name: _strptime(text.body, [form for of, form in used if of == name]) for name, _ in used}
    cases = " ".join(
        f"when {length} then try_strptime({text.body}, {literal(each)})" for length, each in _BY_LENGTH.items()
    )
    digits = f"case when regexp_matches({text.body}, '^[0-9]+$') then case length({text.body}) {cases} end end"
    naive[COMPACT] = f"coalesce({digits}, {naive[COMPACT]})" if COMPACT in naive else digits
    readings = {name: _zoned(each, text.zone, zone) for name, each in naive.items()}
    readings[EPOCH], readings[EXCEL] = _epoch(text.body), _zoned(_excel(text.body), text.zone, zone)
    return readings


def exists(naive: str) -> str:
    """An SQL predicate: whether a time without a zone was on the clocks of the session's zone, so that it is the same
    after a conversion there and back. A midnight passes, since most are days without a time.
    """
    return f"({naive}::timestamptz::timestamp = {naive} or {naive} = date_trunc('day', {naive}))"


def _strptime(text: str, formats: Sequence[str]) -> str:
    return f"try_strptime({text}, [{', '.join(map(literal, formats))}])"


def _zoned(naive: str, zone: str, own: Zone) -> str:
    named = " ".join(f"when {literal(name)} then {minutes}" for name, minutes in own.minutes.items())
    digits = f"replace({zone}, ':', '')"
    hours, rest = f"try_cast(substr({digits}, 2, 2) as int)", f"coalesce(try_cast(substr({digits}, 4, 2) as int), 0)"
    offset = f"if(left({digits}, 1) = '-', -1, 1) * ({hours} * 60 + {rest})"
    minutes = f"case {zone} {named} else {offset} end"
    local = f"case when {exists(naive)} then {naive}::timestamptz end" if own.skips else f"{naive}::timestamptz"
    if zone == "''":
        return local
    return f"case when {zone} = '' then {local} else ({naive} - to_minutes({minutes})) at time zone 'UTC' end"


def _epoch(text: str) -> str:
    """Seconds, milli-, micro- or nanoseconds since 1970, distinguished by size: seconds reach 1e11 in the year 5138.
    What lies outside 1970 to 2199 is none, as the days that Excel counts.
    """
    number = f"try_cast({text} as double)"
    sizes = ((1e11, 1e6), (1e14, 1e3), (1e17, 1))
    cases = " ".join(f"when abs({number}) < {below:g} then {scale:g}" for below, scale in sizes)
    scale = f"case {cases} else 1e-3 end"
    microseconds = f"try_cast(round({number} * {scale}) as bigint)"
    moment = f"case when abs({microseconds}) < 1e16 then make_timestamp({microseconds}) end"
    return f"(case when {plausible(moment)} then {moment} end at time zone 'UTC')"


def _excel(text: str) -> str:
    days = f"try_cast(replace({text}, ',', '.') as double)"
    milliseconds = f"to_milliseconds(round({days} * 86400000)::bigint)"
    five_digits = f"regexp_matches({text}, '^[0-9]{{5}}([.,][0-9]+)?$')"
    moment = f"case when {five_digits} then timestamp '1899-12-30' + {milliseconds} end"
    return f"case when {plausible(moment)} then {moment} end"
