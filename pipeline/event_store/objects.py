"""The objects of the event store as its manifest describes them: which nights are loaded, and whether all are whole.

A store that an earlier recur left has no manifest: it is taken over once, as it is. A manifest that is lost or damaged
is made again in the same way.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError
from pipeline.runtime.manifest import WAY_BACK, Entry, Manifest, alone_in
from pipeline.runtime.sealed import DamagedError
from pipeline.runtime.verified import verified_address

log = logging.getLogger("recur.event_store")
OBJECTS = "????-??-??.parquet"
CORRECTIONS, FREQUENT_VALUES = b"recur.corrections", b"recur.frequent_values"

FrequentValues = dict[str, list[str]]
"""Of each text column of an event, its most frequent values."""


def loaded_nights(folder: Path) -> list[date]:
    """The score dates of the nights that the event store in `folder` holds, ascending. Raises RecurError where a later
    recur wrote it.
    """
    return sorted(date.fromisoformat(Path(name).stem) for name in manifest_of(folder).entries)


def manifest_of(folder: Path) -> Manifest:
    """The manifest of the event store in `folder`, made where objects lie there and it has none that can be read."""
    try:
        if manifest := Manifest.read(folder):
            return manifest
        why = "has no manifest"
    except DamagedError as error:
        why = str(error)
    if not any(folder.glob(OBJECTS)):
        return Manifest(folder)
    with alone_in(folder):
        try:
            if manifest := Manifest.read(folder):  # another process was first
                return manifest
        except DamagedError:
            pass
        files = sorted(folder.glob(OBJECTS))
        log.warning("the event store %s is taken over as it is, %d objects: it %s", folder, len(files), why)
        manifest = Manifest(folder, {file.name: describe(file) for file in files})
        manifest.write()
    return manifest


def describe(file: Path) -> Entry:
    """The description of an object. Raises RecurError where it is no Parquet file."""
    try:
        metadata = pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecurError(f"{file} cannot be read: {error}: remove it and load its night again") from None
    noted = metadata.metadata or {}
    corrections, values = noted.get(CORRECTIONS), noted.get(FREQUENT_VALUES)
    facts: dict[str, Any] = {
        "rows": metadata.num_rows,
        "columns": columns_digest(metadata.schema.to_arrow_schema()),
        "footer": _footer_digest(file),
        "corrections": None if corrections is None else int(corrections),
    }
    if values is not None:
        facts["frequent_values"] = json.loads(values)
    return Entry.of(file, facts)


def require_whole(folder: Path, but: date | None = None) -> None:
    """Raises RecurError where an object is missing, has another size, or is none of the store's; none is opened. The
    night `but` may be damaged: it is about to be loaded again.
    """
    manifest = manifest_of(folder)
    for name in manifest.missing_or_resized():
        if but is None or Path(name).stem != but.isoformat():
            raise _fault(manifest, name, "has another size than when it was written")
    strange = sorted({file.name for file in folder.glob(OBJECTS)} - manifest.entries.keys())
    if strange and (but is None or strange != [f"{but.isoformat()}.parquet"]):
        raise RecurError(
            f"{folder / strange[0]} is not in the manifest of the event store: something else put it there; move it "
            "away, or put the store back from a backup"
        )


def whole(file: Path) -> Path:
    """`file`, an object, once all its bytes are verified. Raises RecurError where they are not what was written."""
    manifest = manifest_of(file.parent)
    if not manifest.entries[file.name].is_of(file):
        raise _fault(manifest, file.name, "does not hold what was written")
    return file


def scan(files: Sequence[Path], options: str = "") -> str:
    """The relation of the rows of these objects, in DuckDB, which reads no byte that was not verified."""
    return f"read_parquet([{', '.join(literal(verified_address(file)) for file in files)}]{options})"


def corrections(file: Path) -> int | None:
    """How many rows of an object replace an earlier row of their event id; None where it is not known."""
    count: int | None = _facts(file)["corrections"]
    return count


def noted_values(file: Path) -> FrequentValues | None:
    """The most frequent values that an object notes, the one that was loaded first; None of every other."""
    entry = manifest_of(file.parent).entries.get(file.name)
    values: FrequentValues | None = entry.facts.get("frequent_values") if entry else None
    return values


def object_digest(file: Path) -> str:
    """Of the footer: it holds size, place and extremes of every column in the object."""
    return str(_facts(file)["footer"])


def object_columns(file: Path) -> str:
    """The digest of an object's columns."""
    return str(_facts(file)["columns"])


@lru_cache(maxsize=8)
def columns_digest(schema: pa.Schema) -> str:
    """Of names and types of columns, in order."""
    return hashlib.sha256(str(schema.remove_metadata()).encode()).hexdigest()[:16]


def _fault(manifest: Manifest, name: str, damage: str) -> DamagedError:
    file, rows = manifest.folder / name, manifest.entries[name].facts.get("rows", 0)
    fault = damage if file.exists() else "is missing"
    return DamagedError(f"{file}, with the {rows:,} events of the night {file.stem}, {fault}: {WAY_BACK}")


def _facts(file: Path) -> Any:
    return manifest_of(file.parent).entries[file.name].facts


def _footer_digest(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        length = int.from_bytes(opened.read(4), "little")
        opened.seek(-8 - length, 2)
        return hashlib.blake2b(opened.read(length), digest_size=16).hexdigest()
