"""A dataset as files that DuckDB, pandas and pyarrow read without this project, and back again, bit for bit.

`examples.parquet` (customer, cutoff, pointer, labels), `aggregates.parquet` (a row an example, in the same order),
`histories.parquet` (how many steps each history has), `steps/00000.parquet` and on (their steps, one history after the
other, in shards of whole histories) and `dataset.json` (horizons, and the values behind categorical codes).

Steps are written and read a shard at a time, into flat columns that lie in files where they are long
(`features.sequences.flat`): what reads histories, training above all, needs no more memory than a shard and a batch.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.dataset import Dataset, Labels, Sequences
from features.sequences.flat import flat, runs
from pipeline.runtime.paths import atomically

EXAMPLES, AGGREGATES, HISTORIES, STEPS, MEANING = (
    "examples.parquet",
    "aggregates.parquet",
    "histories.parquet",
    "steps",
    "dataset.json",
)
LABELS = ("churn", "purchases", "spend")
FURTHER = ("next_event_days", "next_event_type")
STEPS_A_SHARD = 2_000_000
INSTANT = pa.timestamp("us", "UTC")


def write_dataset(folder: Path, data: Dataset) -> None:
    """Write `data` into `folder`, each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / EXAMPLES, _examples(data))
    _write(folder / AGGREGATES, pa.table({name: data.aggregates[name].to_numpy() for name in data.aggregates.columns}))
    _write(folder / HISTORIES, pa.table({"steps": np.diff(data.sequences.offsets)}))
    shards = list(runs(data.sequences.offsets, STEPS_A_SHARD))
    for number, shard in enumerate(shards):
        _write(_shard(folder, number), _steps(data.sequences.histories(*shard)))
    for left in sorted((folder / STEPS).glob("*.parquet"))[len(shards) :]:
        left.unlink()
    meaning = {
        "horizons": list(data.horizons),
        "numeric": list(data.sequences.numeric),
        "categorical": {name: values for name, (_, values) in data.sequences.categorical.items()},
        "labelled": data.labels is not None,
        "next_event": data.labels is not None and data.labels.next_event_days is not None,
    }
    with atomically(folder / MEANING) as file:
        file.write_text(json.dumps(meaning, indent=2), "utf-8")


def read_dataset(folder: Path) -> Dataset:
    """What `write_dataset` wrote."""
    meaning = json.loads((folder / MEANING).read_text("utf-8"))
    examples = pq.read_table(folder / EXAMPLES)
    lengths = _integers(pq.read_table(folder / HISTORIES), "steps")
    labels = None
    if meaning["labelled"]:
        churn, purchases, spend = (
            np.column_stack([_floats(examples, f"{kind}_{days}") for days in meaning["horizons"]]) for kind in LABELS
        )
        further = [_floats(examples, FURTHER[0]), _words(examples, FURTHER[1])] if meaning["next_event"] else []
        labels = Labels(churn, purchases, spend, *further)
    return Dataset(
        horizons=tuple(meaning["horizons"]),
        customer_id=np.asarray(examples["customer_id"].to_pylist(), dtype=object),
        cutoff=_integers(examples, "cutoff"),
        aggregates=_aggregates(folder / AGGREGATES),
        sequences=_sequences(folder, meaning, lengths, examples),
        labels=labels,
    )


def without_customer(data: Dataset, customer_id: str) -> Dataset:
    """`data` without the customer's examples and without every history that no other example points to."""
    rest = data.select(data.customer_id != customer_id)
    kept, history = np.unique(rest.sequences.history, return_inverse=True)
    lengths = np.diff(data.sequences.offsets)
    of_step = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.isin(of_step, kept)
    sequences = Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64),
        event_time=data.sequences.event_time[steps],
        numeric={name: values[steps] for name, values in data.sequences.numeric.items()},
        categorical={name: (codes[steps], values) for name, (codes, values) in data.sequences.categorical.items()},
        history=history.astype(np.int64),
        length=rest.sequences.length,
    )
    return replace(rest, sequences=sequences)


def _examples(data: Dataset) -> pa.Table:
    columns = {
        "customer_id": pa.array(data.customer_id.tolist(), pa.string()),
        "cutoff": pa.array(data.cutoff, pa.int64()).cast(INSTANT),
        "history": pa.array(data.sequences.history),
        "length": pa.array(data.sequences.length),
    }
    if data.labels is not None:
        for kind, matrix in zip(LABELS, (data.labels.churn, data.labels.purchases, data.labels.spend), strict=True):
            for place, days in enumerate(data.horizons):
                columns[f"{kind}_{days}"] = pa.array(matrix[:, place])
        if data.labels.next_event_days is not None and data.labels.next_event_type is not None:
            columns[FURTHER[0]] = pa.array(data.labels.next_event_days)
            columns[FURTHER[1]] = pa.array(data.labels.next_event_type.tolist(), pa.string())
    return pa.table(columns)


def _aggregates(file: Path) -> pd.DataFrame:
    """A row an example, read a row group at a time."""
    source = pq.ParquetFile(file)
    values, begin = flat((source.metadata.num_columns, source.metadata.num_rows), np.float64), 0
    for batch in source.iter_batches():
        for row, column in zip(values, batch.columns, strict=True):
            row[begin : begin + len(batch)] = column.to_numpy(zero_copy_only=False)
        begin += len(batch)
    return pd.DataFrame(values.T, columns=source.schema_arrow.names, copy=False)


def _sequences(folder: Path, meaning: dict[str, Any], lengths: np.ndarray, examples: pa.Table) -> Sequences:
    steps = int(lengths.sum())
    columns = {"event_time": flat(steps, np.int64)}
    columns |= {name: flat(steps, np.float64) for name in meaning["numeric"]}
    columns |= {name: flat(steps, np.int32) for name in meaning["categorical"]}
    begin = 0
    for file in sorted((folder / STEPS).glob("*.parquet")):
        shard = pq.read_table(file)
        for name, values in columns.items():
            reading = _floats if name in meaning["numeric"] else _integers
            values[begin : begin + shard.num_rows] = reading(shard, name)
        begin += shard.num_rows
    return Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        event_time=columns["event_time"],
        numeric={name: columns[name] for name in meaning["numeric"]},
        categorical={name: (columns[name], values) for name, values in meaning["categorical"].items()},
        history=_integers(examples, "history"),
        length=_integers(examples, "length"),
    )


def _shard(folder: Path, number: int) -> Path:
    return folder / STEPS / f"{number:05d}.parquet"


def _steps(sequences: Sequences) -> pa.Table:
    columns = {"event_time": pa.array(sequences.event_time, pa.int64()).cast(INSTANT)}
    numeric = {name: pa.array(values) for name, values in sequences.numeric.items()}
    codes = {name: pa.array(codes) for name, (codes, _) in sequences.categorical.items()}
    return pa.table(columns | numeric | codes)


def _write(path: Path, table: pa.Table) -> None:
    with atomically(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=1)


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _words(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_pylist(), dtype=object)


def _integers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name]
    whole = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return np.asarray(whole.to_numpy(), dtype=np.int64)
