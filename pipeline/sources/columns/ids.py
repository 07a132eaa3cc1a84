"""How ids are read: as they are, or as the keys `fold_case` and `strip_zeros` say, and what they would change."""

import re
from collections.abc import Collection
from typing import NamedTuple

import duckdb

from pipeline.config.source import Source
from pipeline.runtime.engine import literal

_NUMBER = r"^0*([0-9]+?)(?:\.0+)?$"
_WRITTEN = """
0 00 000 -1 -99 -999 9999 99999 999999 9999999 99999999 999999999 00000000-0000-0000-0000-000000000000 - -- ? . x xx xxx
na n/a nil null none nan undefined unknown guest guests anonymous anon nobody empty test missing not_set (not_set)
no_customer walk-in walkin total totals grand_total subtotal sum summe gesamt insgesamt average count
"""
PLACEHOLDERS = frozenset(_WRITTEN.split())
"""What programs and people write, in lower case, where they know of nobody, or below a table; blanks as _."""
IMPLAUSIBLE_SHARE, IMPLAUSIBLE_RATIO, LEAST = 0.05, 10, 50
"""One id with at least this share of the rows, this many times those of the next, and this many rows, is hardly one."""
_SHORTENED = r"[0-9](\.[0-9]+)?[eE]\+?[0-9]{2}|[0-9]{16,}\.0"
_LOOSE = r"[^\p{L}\p{N}\p{S}._@/:#&-]"
"""What of an id nobody would tell two customers by: blanks, characters that are not seen, quotation marks, brackets."""


def id_text(text: str, name: str, source: Source) -> str:
    """An SQL expression: the id that the expression `text` writes, in the column `name`."""
    if source.strip_zeros and name in ("customer_id", "event_id"):
        text = f"regexp_replace(trim({text}), {literal(_NUMBER)}, '\\1')"
    return f"lower(trim({text}))" if source.fold_case and name == "customer_id" else text


def read_id(text: str, source: Source) -> str:
    """The same of a customer's id, here."""
    if source.strip_zeros:
        text = re.sub(_NUMBER, r"\1", text.strip())
    return text.strip().lower() if source.fold_case else text


class IdFigures(NamedTuple):
    """Of a column of ids: how many there are, how many without regard to case, how many without zeros before and `.0`
    behind whole numbers, how many without what `_LOOSE` says and an example of two that are one then; how many are
    written as 1.23E+11, or as longer floats than floats can be; the id with most rows, its rows and those of the next;
    all rows that name one; and the ids that mean nobody where programs write them, with their rows.
    """

    ids: int
    folded: int
    stripped: int
    loose: int
    alike: tuple[str, str] | None
    shortened: int
    most: str
    most_rows: int
    next_rows: int
    rows: int
    placeholders: dict[str, int]

    @property
    def is_implausible(self) -> bool:
        """Whether one id has so many of the rows that it is hardly one customer."""
        return self.most_rows >= max(IMPLAUSIBLE_SHARE * self.rows, IMPLAUSIBLE_RATIO * self.next_rows, LEAST)


def figures(
    connection: duckdb.DuckDBPyConnection, rows: str, column: str, but: Collection[str] = ()
) -> IdFigures | None:
    """The figures of `column` in the SQL relation `rows`, without the ids `but`, which are in lower case; None where
    there is no other id.
    """
    text = f"nullif(trim({column}), '')"
    if but:
        text = f"case when lower({text}) not in ({', '.join(map(literal, but))}) then {text} end"
    grouped = f"select {text} as id, count(*) as rows from {rows} where {text} is not null group by 1"
    connection.execute(f"create or replace temp table ids as {grouped}")
    stripped = f"count(distinct regexp_replace(id, {literal(_NUMBER)}, '\\1'))"
    key = f"regexp_replace(nfc_normalize(lower(id)), {literal(_LOOSE)}, '', 'g')"
    shortened = f"count_if(regexp_full_match(id, {literal(_SHORTENED)}))"
    counts = f"count(distinct lower(id)), {stripped}, count(distinct {key}), {shortened}"
    query = f"select count(*), sum(rows), {counts} from ids"
    [(ids, total, folded, without, loose, short)] = connection.execute(query).fetchall()
    if not ids:
        return None
    alike = None
    if loose < folded:
        pairs = f"select min(id), max(id) from ids group by {key} having count(distinct lower(id)) > 1"
        [alike] = connection.execute(f"{pairs} order by 1 limit 1").fetchall()
    (most, most_rows), *others = _first(connection, "true", 2)
    names = ", ".join(map(literal, sorted(PLACEHOLDERS)))
    placeholders = dict(_first(connection, f"replace(lower(id), ' ', '_') in ({names})", len(PLACEHOLDERS)))
    next_rows = others[0][1] if others else 0
    by_rows = (most, most_rows, next_rows, int(total), placeholders)
    return IdFigures(ids, folded, without, loose, alike, short, *by_rows)


def _first(connection: duckdb.DuckDBPyConnection, where: str, limit: int) -> list[tuple[str, int]]:
    query = f"select id, rows from ids where {where} order by rows desc, id limit {limit}"
    return connection.execute(query).fetchall()
