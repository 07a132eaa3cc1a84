"""The quarantine: the rows that validation set aside, each with its reason."""

from typing import NamedTuple

import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.runtime.engine import literal, session
from pipeline.sources.index import Contents


class SetAside(NamedTuple):
    """Rows of one night and one file or table of the source, set aside for one reason, and some of them as the source
    gave them (JSON).
    """

    night: str
    source: str
    reason: str
    rows: int
    examples: list[str]


def summary(
    settings: Settings, reason: str | None = None, night: str | None = None, examples: int = 1
) -> list[SetAside]:
    """What was set aside by night, source and reason, refused nights included; of one reason or night alone where it is
    given.
    """
    if not any((settings.var / "quarantine").glob("*.parquet")):
        return []
    files = f"read_parquet({literal(settings.var / 'quarantine' / '*.parquet')}, union_by_name = true)"
    nowhere = (0, -1, "")
    values = [f"({first}, {last}, {literal(file)})" for first, last, file in [nowhere, *_row_ranges(settings)]]
    places = f"(values {', '.join(values)}) as places(first, last, address)"
    with session(settings.state) as connection:
        held = {name for name, *_ in connection.execute(f"describe from {files}").fetchall()}
        place = "source_row" if "source_row" in held else "null::bigint"  # an earlier recur kept no row numbers
        wanted = " and ".join(
            [*(["reason = $reason"] if reason else []), *(["night = $night"] if night else []), "true"]
        )
        grouped = f"""
            select night, coalesce(address, {literal(_source_in_words(settings))}), reason, count(*),
                list(row order by source_row, row)[:$examples]
            from (select night, reason, row, {place} as source_row from {files})
            left join {places} on source_row between first and last
            where {wanted} group by all order by all
        """
        given = {"reason": reason, "night": night, "examples": examples}
        used = {name: value for name, value in given.items() if value is not None}
        return [SetAside(*row) for row in connection.execute(grouped, used).fetchall()]


def _row_ranges(settings: Settings) -> list[tuple[int, int, str]]:
    """Which of the source's files holds the rows of which numbers: first, last, address."""
    ranges = []
    for file in sorted((settings.var / "source").glob("*/contents.json")):
        for part in Contents.model_validate_json(file.read_text("utf-8")).chunks:
            meta = pq.read_metadata(file.parent / part.name)
            place = meta.schema.names.index("row")
            groups = [meta.row_group(number).column(place).statistics for number in range(meta.num_row_groups)]
            found = [(one.min, one.max) for one in groups if one is not None and one.has_min_max]
            if found and settings.source.kind != "sql":
                ranges.append(
                    (min(low for low, _ in found), max(high for _, high in found), _whole(settings, part.address))
                )
    return ranges


def _whole(settings: Settings, name: str) -> str:
    return name if "://" in name else str(settings.root / name)


def _source_in_words(settings: Settings) -> str:
    source = settings.source
    return source.table or source.path or source.kind
