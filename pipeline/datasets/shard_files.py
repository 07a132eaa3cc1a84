"""A shard's examples as files that DuckDB, pandas and pyarrow read without this project, and back again, bit for bit.

`examples.parquet` (customer, cutoff, pointer, labels), `aggregates.parquet` (a row an example, in the same order),
`histories.parquet` (how many steps each history has), `steps/00000.parquet` and on (their steps, one history after the
other), `earlier_labels.parquet` (labels that were others before, where there are such) and `dataset.json` (horizons,
and the values behind categorical codes). Without labels, `customers.parquet` has who is known, eligible or not.

It runs on an engine's executors too, so it imports NumPy and Arrow, `features`, and nothing of the pipeline.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.arrays import Floats, Integers
from features.dataset import EarlierLabels, Labels, Sequences
from features.examples.request import BuildRequest
from features.examples.shard import ShardExamples, ShardSize, build_shard

EXAMPLES, AGGREGATES, HISTORIES, STEPS = "examples.parquet", "aggregates.parquet", "histories.parquet", "steps"
EARLIER, KNOWN, MEANING = "earlier_labels.parquet", "customers.parquet", "dataset.json"
LABELS = ("churn", "purchases", "spend")
NEXT_EVENT = ("next_event_days", "next_event_type")
INSTANT = pa.timestamp("us", "UTC")
COUNTS = pa.schema([("shard", pa.int64()), ("examples", pa.int64())])


def shard_folder(folder: Path, number: int) -> Path:
    return folder / "shards" / f"{number:05d}"


@dataclass(frozen=True)
class ShardWriter:
    """Runs beside the data: builds shards of sorted revisions, writes each below `folder`, gives back counts alone."""

    request: BuildRequest
    folder: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """`batches` come in the order of `shard`, their first column, and then of `revisions.ORDER`."""
        for number, table in _by_shard(batches):
            shard = build_shard(table, self.request)
            write_shard(shard_folder(Path(self.folder), number), shard, self.request.spec.horizons)
            yield pa.RecordBatch.from_pydict({"shard": [number], "examples": [len(shard.cutoff)]}, schema=COUNTS)


def _by_shard(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """The number of each shard, and its rows in one."""
    number, waiting = -1, list[pa.RecordBatch]()
    for batch in batches:
        shards = batch.column("shard").to_numpy(zero_copy_only=False)
        bounds = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(shards)]
        for first, last in pairwise(bounds):
            if first == last:
                continue
            if waiting and shards[first] != number:
                yield number, pa.Table.from_batches(waiting).drop_columns(["shard"])
                waiting = []
            number = int(shards[first])
            waiting.append(batch.slice(first, last - first))
    if waiting:
        yield number, pa.Table.from_batches(waiting).drop_columns(["shard"])


def write_shard(folder: Path, shard: ShardExamples, horizons: tuple[int, ...]) -> None:
    """Write `shard` into `folder`, which is made; `dataset.json` comes last."""
    (folder / STEPS).mkdir(parents=True, exist_ok=True)
    _write(folder / EXAMPLES, _examples(shard, horizons))
    _write(folder / AGGREGATES, pa.table({name: pa.array(values) for name, values in shard.aggregates.items()}))
    _write(folder / HISTORIES, pa.table({"steps": shard.sequences.lengths}))
    _write(folder / STEPS / "00000.parquet", _steps(shard.sequences))
    if shard.earlier is not None and len(shard.earlier.moment):
        entries = {"moment": _instants(shard.earlier.moment), "example": pa.array(shard.earlier.example)}
        _write(folder / EARLIER, pa.table(entries | _labels(shard.earlier.labels, horizons)))
    if shard.labels is None:
        known = {"customer_id": shard.customers.cast(pa.string()), "last_event": pa.array(shard.last_event)}
        _write(folder / KNOWN, pa.table(known))
    meaning = {
        "horizons": list(horizons),
        "numeric": list(shard.sequences.numeric),
        "categorical": {name: values for name, (_, values) in shard.sequences.categorical.items()},
        "labelled": shard.labels is not None,
        "next_event": shard.labels is not None and shard.labels.next_event_days is not None,
    }
    (folder / MEANING).write_text(json.dumps(meaning, indent=2), "utf-8")


def read_shard(folder: Path) -> ShardExamples:
    """What `write_shard` wrote; with labels, without who is known beside the examples."""
    meaning = json.loads((folder / MEANING).read_text("utf-8"))
    examples, aggregates = pq.read_table(folder / EXAMPLES), pq.read_table(folder / AGGREGATES)
    steps = pa.concat_tables(pq.read_table(file) for file in sorted((folder / STEPS).glob("*.parquet")))
    lengths = _integers(pq.read_table(folder / HISTORIES), "steps")
    sequences = Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        event_time=_integers(steps, "event_time"),
        numeric={name: _floats(steps, name) for name in meaning["numeric"]},
        categorical={
            name: (np.asarray(steps[name].to_numpy(), np.int32), values)
            for name, values in meaning["categorical"].items()
        },
        history=_integers(examples, "history"),
        length=_integers(examples, "length"),
    )
    earlier = None
    if (folder / EARLIER).exists():
        table = pq.read_table(folder / EARLIER)
        entries = _integers(table, "moment"), _integers(table, "example")
        earlier = EarlierLabels(*entries, _labels_of(table, meaning))
    customers, last_event = pa.array([], pa.string()), np.zeros(0, np.int64)
    if (folder / KNOWN).exists():
        known = pq.read_table(folder / KNOWN)
        customers, last_event = known["customer_id"].combine_chunks(), _integers(known, "last_event")
    return ShardExamples(
        customer_id=examples["customer_id"].combine_chunks(),
        cutoff=_integers(examples, "cutoff"),
        aggregates={name: _floats(aggregates, name) for name in aggregates.column_names},
        sequences=sequences,
        labels=_labels_of(examples, meaning) if meaning["labelled"] else None,
        earlier=earlier,
        customers=customers,
        last_event=last_event,
    )


def horizons_of(folder: Path) -> tuple[int, ...]:
    """The horizons of a written shard's labels, in days and in the question's order."""
    return tuple(json.loads((folder / MEANING).read_text("utf-8"))["horizons"])


def size_of(folder: Path) -> ShardSize:
    """Of a written shard."""
    cutoff = _integers(pq.read_table(folder / EXAMPLES, columns=["cutoff"]), "cutoff")
    steps = sum(pq.read_metadata(file).num_rows for file in (folder / STEPS).glob("*.parquet"))
    return ShardSize(cutoff, pq.read_metadata(folder / HISTORIES).num_rows, steps)


def _examples(shard: ShardExamples, horizons: tuple[int, ...]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "customer_id": shard.customer_id.cast(pa.string()),
        "cutoff": _instants(shard.cutoff),
        "history": pa.array(shard.sequences.history),
        "length": pa.array(shard.sequences.length),
    }
    return pa.table(columns | (_labels(shard.labels, horizons) if shard.labels else {}))


def _labels(labels: Labels, horizons: tuple[int, ...]) -> dict[str, pa.Array]:
    kinds = zip(LABELS, (labels.churn, labels.purchases, labels.spend), strict=True)
    columns = {
        f"{kind}_{days}": pa.array(matrix[:, place]) for kind, matrix in kinds for place, days in enumerate(horizons)
    }
    if labels.next_event_days is not None and labels.next_event_type is not None:
        columns[NEXT_EVENT[0]] = pa.array(labels.next_event_days)
        columns[NEXT_EVENT[1]] = pa.array(labels.next_event_type.tolist(), pa.string())
    return columns


def _labels_of(table: pa.Table, meaning: dict[str, Any]) -> Labels:
    churn, purchases, spend = (
        np.column_stack([_floats(table, f"{kind}_{days}") for days in meaning["horizons"]]) for kind in LABELS
    )
    if not meaning["next_event"]:
        return Labels(churn, purchases, spend)
    types = np.asarray(table[NEXT_EVENT[1]].to_pylist(), dtype=object)
    return Labels(churn, purchases, spend, _floats(table, NEXT_EVENT[0]), types)


def _steps(sequences: Sequences) -> pa.Table:
    columns: dict[str, pa.Array] = {"event_time": _instants(sequences.event_time)}
    columns |= {name: pa.array(values) for name, values in sequences.numeric.items()}
    return pa.table(columns | {name: pa.array(codes) for name, (codes, _) in sequences.categorical.items()})


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=1)


def _instants(times: Integers) -> pa.Array:
    return pa.array(times, pa.int64()).cast(INSTANT)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _integers(table: pa.Table, name: str) -> Integers:
    column = table[name]
    whole = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return np.asarray(whole.to_numpy(), dtype=np.int64)
