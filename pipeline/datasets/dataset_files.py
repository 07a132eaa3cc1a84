"""A dataset in a folder: its shards, each in a folder below `shards/` (an earlier dataset is one shard itself)."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.dataset import Dataset, occurring
from features.examples.merging import merged
from features.examples.shard import ShardExamples
from pipeline.datasets.shard_files import AGGREGATES, EXAMPLES, MEANING, horizons_of, read_shard, size_of, write_shard
from pipeline.runtime.described import describe, require_whole

SHARDS = "shards"


def shards_of(folder: Path) -> list[Path]:
    """The folders of a dataset's shards, their customers ascending."""
    return sorted((folder / SHARDS).glob("?????")) or [folder]


def describe_dataset(folder: Path) -> None:
    """Has every file of a dataset described, as it is now; `read_dataset` then verifies it."""
    files = sorted(file for shard in shards_of(folder) for file in shard.rglob("*") if file.is_file())
    describe(folder / SHARDS, [file.relative_to(folder / SHARDS).as_posix() for file in files])


def require_whole_dataset(folder: Path) -> None:
    """Raises DamagedError where a file of the dataset in `folder` is not what was described."""
    if (folder / SHARDS).exists():
        require_whole(folder / SHARDS, way_back(folder))


def way_back(folder: Path) -> str:
    """From damage to the snapshot in `folder`."""
    return f"remove {folder} and make it again with `recur train --cutoff {folder.name}`"


def read_dataset(folder: Path) -> Dataset:
    """All examples, in order of (cutoff, customer_id); no more than one shard is held beside them. Purchases and spend
    have labels where any event has an amount. Raises DamagedError where a file is not what was described.
    """
    require_whole_dataset(folder)
    shards = shards_of(folder)
    examples = merged([size_of(shard) for shard in shards], map(read_shard, shards), horizons_of(shards[0]))
    return examples.with_values_of_amounts()


def aggregates_at(folder: Path, cutoffs: Sequence[datetime]) -> pa.Table:
    """The aggregates of the examples at these cutoffs, shard by shard. Raises DamagedError as `read_dataset` does."""
    require_whole_dataset(folder)
    tables = []
    for shard in shards_of(folder):
        cutoff = pq.read_table(shard / EXAMPLES, columns=["cutoff"])["cutoff"]
        tables.append(pq.read_table(shard / AGGREGATES).filter(pc.is_in(cutoff, pa.array(cutoffs, cutoff.type))))
    return pa.concat_tables(tables)


def erase_customer(folder: Path, customer_id: str) -> int:
    """Removes a customer's examples, histories that no other points to, and texts that no step has any more, as those
    of a customer without an example; gives how many examples went.
    """
    removed = 0
    for shard in shards_of(folder) if (shards_of(folder)[0] / MEANING).exists() else ():
        examples = read_shard(shard)
        others = np.asarray(pc.not_equal(examples.customer_id, customer_id))
        coded = examples.sequences.categorical
        if others.all() and all(occurring(each) is each for each in coded.values()):
            continue
        removed += int((~others).sum())
        other = folder / ".erased"
        shutil.rmtree(other, ignore_errors=True)
        write_shard(other, _select(examples, others), horizons_of(shard))
        for old in [shard / "steps", *shard.glob("*.parquet"), shard / MEANING]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for new in other.iterdir():
            new.rename(shard / new.name)
        other.rmdir()
    return removed


def _select(shard: ShardExamples, rows: np.ndarray) -> ShardExamples:
    """The examples of the mask `rows`, and their histories."""
    sequences, pointed = shard.sequences, np.unique(shard.sequences.history[rows])
    there = np.zeros(len(sequences.lengths), bool)
    there[pointed] = True
    kept = sequences.only(there, np.ones(len(sequences.event_time), bool))
    kept = replace(kept, categorical={name: occurring(coded) for name, coded in kept.categorical.items()})
    return replace(
        shard,
        customer_id=shard.customer_id.filter(pa.array(rows)),
        cutoff=shard.cutoff[rows],
        aggregates={name: values[rows] for name, values in shard.aggregates.items()},
        sequences=kept.pointed((np.cumsum(there) - 1)[sequences.history[rows]], sequences.length[rows]),
        labels=shard.labels and shard.labels.select(rows),
        earlier=shard.earlier and shard.earlier.select(rows, len(rows)),
    )
