"""The quarantine: the rows that validation set aside, each with its reason."""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.runtime.described import require_whole
from pipeline.runtime.engine import literal, session
from pipeline.runtime.manifest import NAME
from pipeline.runtime.paths import StateFolder
from pipeline.sources.contents import CONTENTS, read_contents


class SetAside(NamedTuple):
    """Rows of one night and one file or table of the source, set aside for one reason, and some of them as JSON."""

    night: str
    source: str
    reason: str
    rows: int
    examples: list[str]


def quarantined(
    settings: Settings, reason: str | None = None, night: str | None = None, examples: int = 1
) -> list[SetAside]:
    """What was set aside by night, source and reason, refused nights included; only of `reason` or `night` where they
    are given. At most `examples` rows of each are shown.
    """
    state, source = settings.state, settings.source
    folder = state.path / "quarantine"
    if not any(folder.glob("*.parquet")):
        return []
    require_whole(folder, f"put it back from a backup, or give up its rows: remove it and {folder / NAME}")
    files = f"read_parquet({literal(folder / '*.parquet')}, union_by_name = true)"
    of_files = [] if source.kind == "sql" else _row_ranges(state, settings.root)
    no_file = (0, -1, "")
    ranges = [f"({first}, {last}, {literal(file)})" for first, last, file in [no_file, *of_files]]
    filters: dict[str, Any] = {name: value for name, value in (("reason", reason), ("night", night)) if value}
    conditions = [f"{name} = ${name}" for name in filters]
    name = source.table or source.path or source.kind
    with session(state) as connection:
        columns = {column for column, *_ in connection.execute(f"describe from {files}").fetchall()}
        row_number = "source_row" if "source_row" in columns else "null::bigint"  # an earlier recur kept none
        query = f"""
            select night, coalesce(address, {literal(name)}), reason, count(*),
                list(row order by source_row, row)[:$examples]
            from (select night, reason, row, {row_number} as source_row from {files})
            left join (values {", ".join(ranges)}) as ranges(first, last, address)
                on source_row between first and last
            where {" and ".join([*conditions, "true"])} group by all order by all
        """
        return [SetAside(*row) for row in connection.execute(query, filters | {"examples": examples}).fetchall()]


def _row_ranges(state: StateFolder, root: Path) -> list[tuple[int, int, str]]:
    """The first and last row number of each of the source's files, and its address."""
    ranges = []
    for file in sorted((state.path / "source").glob(f"*/{CONTENTS}")):
        for chunk in read_contents(file.parent).chunks:
            metadata = pq.read_metadata(file.parent / chunk.name)
            column = metadata.schema.names.index("row")
            groups = map(metadata.row_group, range(metadata.num_row_groups))
            statistics = [group.column(column).statistics for group in groups]
            ends = [(each.min, each.max) for each in statistics if each is not None and each.has_min_max]
            if ends:
                address = chunk.address if "://" in chunk.address else str(root / chunk.address)
                ranges.append((min(low for low, _ in ends), max(high for _, high in ends), address))
    return ranges
