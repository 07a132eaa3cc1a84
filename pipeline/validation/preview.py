"""What the row rules would set aside of a whole source, and which types its events have, before any night is loaded."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import duckdb

from pipeline.config.source import CORE_COLUMNS, Source
from pipeline.runtime.engine import quoted
from pipeline.runtime.nights import Night
from pipeline.sources.contract import Kind
from pipeline.validation.parsing import SHOWN, StagedNight, reasoned
from pipeline.validation.rules import RowRule, row_rules

LONGEST_EXAMPLE = 40  # characters


class SetAside(NamedTuple):
    """A reason, how many rows it sets aside, and what stands in one: None of customers, or where it is empty."""

    rule: RowRule
    rows: int
    example: str | None


class Preview(NamedTuple):
    """How many rows there are; what of them would be set aside, most often first; how many events have which type."""

    rows: int
    set_aside: list[SetAside]
    types: dict[str, int]


def preview(
    connection: duckdb.DuckDBPyConnection, rows: str, source: Source, columns: Collection[str], end: datetime
) -> Preview:
    """Judges all `rows`, an SQL relation of texts, as a history that ends at `end`."""
    attributes: Mapping[str, Kind] = {
        name: "categorical" if name in source.categorical else "numeric" for name in columns if name not in CORE_COLUMNS
    }
    staged = StagedNight(f"(select *, 0 as earlier from {rows})", columns, attributes, Night(None, end), source)
    rules = row_rules(columns, attributes, source.nobody)
    shown = [name for name in columns if name in SHOWN or name in attributes]
    examples = "".join(f", min({quoted(f'text_{name}')}) filter (reason is not null)" for name in shown)
    query = f"select reason, event_type, count(*){examples} from ({reasoned(staged, rules)}) group by all"
    by_code = {rule.code: rule for rule in rules}
    types, aside = Counter[str](), dict[str, SetAside]()
    total = 0
    for code, event_type, count, *texts in connection.execute(query).fetchall():
        total += count
        if code is None:
            types[event_type] += count
            continue
        example = next((text for name, text in zip(shown, texts, strict=True) if code.startswith(name)), None)
        before = aside.get(code, SetAside(by_code[code], 0, None))
        text = before.example if example is None else example[:LONGEST_EXAMPLE]
        aside[code] = SetAside(by_code[code], before.rows + count, text)
    return Preview(total, sorted(aside.values(), key=lambda each: -each.rows), dict(types))
