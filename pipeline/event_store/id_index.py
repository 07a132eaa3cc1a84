"""Which objects of the store may hold an event id, without opening them: the 64-bit digests of all their event ids in
ascending order, each with the night of its object, in a few *runs* of whole nights under `paths.var`.

Runs are made from the store and from nothing else, when they are needed: those that are missing, damaged, or no longer
fit their objects are made again. A run that is not twice as large as the one after it is merged with it, so that there
are no more than about log2(events) of them, and an event is written as often at most.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.event_store.objects import manifest_of, scan
from pipeline.event_store.store import EventStore
from pipeline.runtime.engine import literal
from pipeline.runtime.manifest import Entry, Manifest
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.runtime.sealed import DamagedError

log = logging.getLogger("recur.event_store")
MADE_OF = b"recur.made_of"
DIGEST = "hash(event_id)"


@dataclass(frozen=True)
class Run:
    """A file: `digest` uint64, `night` date32, in order of digest. `made_of` is the digest of each object by its score
    date, with the version of the engine, which another one need not digest alike.
    """

    file: Path
    made_of: dict[str, str]
    rows: pa.Table

    @classmethod
    def read(cls, file: Path) -> "Run":
        with pa.memory_map(str(file)) as source:
            rows = pa.ipc.open_file(source).read_all()
        return cls(file, json.loads(rows.schema.metadata[MADE_OF]), rows)

    def nights_of(self, wanted: np.ndarray) -> set[date]:
        """The nights of the rows that have one of the digests `wanted`, which are in ascending order."""
        digests = self.rows["digest"].to_numpy()
        begins, ends = (np.searchsorted(digests, wanted, side) for side in ("left", "right"))
        counts = ends - begins
        rows = np.repeat(ends - np.cumsum(counts), counts) + np.arange(counts.sum())
        return set(self.rows["night"].take(pa.array(rows)).unique().to_pylist())


def folder(state: StateFolder) -> Path:
    return state.path / "event_ids"


def objects_with(
    store: EventStore, state: StateFolder, connection: duckdb.DuckDBPyConnection, events: str, before: date
) -> list[Path]:
    """The objects of nights before `before` that hold an event id of the relation `events`, ascending, and perhaps one
    that holds none of them.
    """
    earlier = [night for night in store.nights() if night < before]
    if not earlier:
        return []
    wanted = connection.execute(f"select {DIGEST} as digest from {events} order by 1").fetchnumpy()["digest"]
    nights: set[date] = set()
    for run in _runs(folder(state), store, connection, earlier):
        nights |= run.nights_of(wanted)
    return [store.path(night) for night in earlier if night in nights]


def _runs(folder: Path, store: EventStore, connection: duckdb.DuckDBPyConnection, nights: Sequence[date]) -> list[Run]:
    """Runs of at least `nights`, oldest first."""
    described = manifest_of(store.folder).entries
    stamps = {Path(name).stem: f"{entry.sha256} {duckdb.__version__}" for name, entry in described.items()}
    runs: list[Run] = []
    indexed = set[str]()
    for run in _whole_runs(folder):
        fits = all(stamps.get(name) == stamp for name, stamp in run.made_of.items())
        if fits and not indexed & run.made_of.keys():
            runs.insert(0, run)
            indexed |= run.made_of.keys()
        else:  # of other objects, or merged by a process that was killed
            run.file.unlink()
    new = {night.isoformat(): stamps[night.isoformat()] for night in nights if night.isoformat() not in indexed}
    if new:
        objects = " union all ".join(_digests(store.path(date.fromisoformat(name))) for name in new)
        runs.append(_write(folder, connection, new, objects))
    while len(runs) > 1 and len(runs[-2].rows) < 2 * len(runs[-1].rows):
        *runs, older, newer = runs
        with connection.cursor() as cursor:
            cursor.register("older", older.rows)
            cursor.register("newer", newer.rows)
            made_of, merged = older.made_of | newer.made_of, (older.file, newer.file)
            both = _write(folder, cursor, made_of, "from older union all from newer", merged)
        for file in merged:
            if file != both.file:
                file.unlink()
        runs.append(both)
    return runs


def _whole_runs(folder: Path) -> Iterator[Run]:
    """Those in `folder` that are as they were written, latest first; others are removed, to be made again."""
    try:
        described = (Manifest.read(folder) or Manifest(folder)).entries
    except DamagedError:
        described = {}
    for file in sorted(folder.glob("*.arrow"), reverse=True):
        if file.name in described and described[file.name].is_of(file):
            yield Run.read(file)
        else:
            log.warning("%s is not as it was written: it is made again from the event store", file)
            file.unlink()


def _write(
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    made_of: dict[str, str],
    rows: str,
    merged: Sequence[Path] = (),
) -> Run:
    """The run of the relation `rows`, named after its last night, which takes the place of the files `merged`."""
    digests = connection.sql(f"select digest, night from ({rows}) order by digest, night").to_arrow_table()
    table = digests.combine_chunks().replace_schema_metadata({MADE_OF: json.dumps(made_of, sort_keys=True).encode()})
    file = folder / f"{max(made_of)}.arrow"
    with atomically(file) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)
    try:
        manifest = Manifest.read(folder) or Manifest(folder)
    except DamagedError:
        manifest = Manifest(folder)
    gone = {each.name for each in merged}
    kept = (name for name in manifest.entries.keys() - gone if (folder / name).exists())
    entries = {name: manifest.entries[name] for name in kept}
    Manifest(folder, {**entries, file.name: Entry.of(file)}).write()
    return Run.read(file)


def _digests(file: Path) -> str:
    return f"select {DIGEST} as digest, date {literal(file.stem)} as night from {scan([file])}"
