"""A dataset comes back from its files bit for bit, and without a customer nothing of theirs is left."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import EarlierLabels, Labels, Sequences
from features.examples.merging import together
from features.examples.shard import ShardExamples
from pipeline.datasets import duckdb_engine
from pipeline.datasets.dataset_files import aggregates_at, erase_customer, read_dataset, shards_of
from pipeline.datasets.duckdb_engine import DuckDB
from pipeline.datasets.shard_files import read_shard, shard_folder, size_of, write_shard
from pipeline.runtime.paths import StateFolder
from tests.features.test_shard import CUTOFFS, QUESTION, bits
from tests.support.stored import stored
from tests.support.worlds.event_worlds import END, request, revisions

DAY = 86_400_000_000
HORIZONS = (14, 28)


@pytest.fixture
def shard() -> ShardExamples:
    """Three histories (the middle one is another customer's), five examples, a value and a label that are missing."""
    return ShardExamples(
        customer_id=pa.array(["a", "b", "a", "b", "é"]),
        cutoff=np.array([9, 9, 16, 16, 16]) * DAY,
        aggregates={
            "events_total": np.array([1.0, 2, 2, 3, 1]),
            "gap_mean": np.array([np.nan, 0.1 + 0.2, 3, 4, np.nan]),
        },
        sequences=Sequences(
            offsets=np.array([0, 2, 5, 6]),
            event_time=np.array([1, 2, 3, 4, 5, 6]) * DAY + 7,
            numeric={"amount": np.array([1.1, np.nan, 3, 4, 5, -0.0])},
            categorical={"shop": (np.array([0, 1, 0, -1, 1, 0], dtype=np.int32), ["north", "süd"])},
            history=np.array([0, 1, 0, 1, 2]),
            length=np.array([1, 2, 2, 3, 1]),
        ),
        labels=labels([[0.0, np.nan], [1, 0], [1, 1], [0, 0], [1, np.nan]]),
        earlier=EarlierLabels(np.array([20, 20]) * DAY, np.array([1, 2]), labels([[0.0, 0], [0, 1]])),
        customers=pa.array(["a", "b", "é"]),
        last_event=np.array([2, 5, 6]) * 86_400,
    )


def labels(values: list[list[float]]) -> Labels:
    return Labels(*(np.array(values) + kind for kind in (0, 1, 2)))


def same(left: ShardExamples, right: ShardExamples) -> bool:
    one, other = together([left], HORIZONS), together([right], HORIZONS)
    pd.testing.assert_frame_equal(one.aggregates, other.aggregates, check_exact=True)
    if (left.labels is None) != (right.labels is None):
        return False
    blank = Labels(*(np.zeros((len(left.cutoff), 2)) for _ in range(3)))
    if left.labels is None:
        return bits(replace(one, labels=blank)) == bits(replace(other, labels=blank))
    return bits(one) == bits(other)


def test_what_is_written_is_what_is_read(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(tmp_path, shard, HORIZONS)
    found = read_shard(tmp_path)
    assert same(found, shard)
    assert found.earlier is not None
    assert found.earlier.moment.tolist() == shard.earlier.moment.tolist()
    assert not found.earlier.labels.differs(shard.earlier.labels).any()
    assert (size_of(tmp_path).histories, size_of(tmp_path).steps) == (3, 6)
    assert size_of(tmp_path).cutoff.tolist() == shard.cutoff.tolist()


def test_without_labels_too_and_then_with_everybody_known(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(tmp_path, replace(shard, labels=None, earlier=None), HORIZONS)
    found = read_shard(tmp_path)
    assert same(found, replace(shard, labels=None))
    assert found.customers.to_pylist() == ["a", "b", "é"]
    assert found.last_event.tolist() == shard.last_event.tolist()


def test_a_dataset_of_an_earlier_version_is_one_shard(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(tmp_path, shard, HORIZONS)
    assert shards_of(tmp_path) == [tmp_path]
    assert bits(read_dataset(tmp_path)) == bits(together([shard], HORIZONS))


def test_columns_in_files_are_the_same(shard: ShardExamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(shard_folder(tmp_path, 0), shard, HORIZONS)
    monkeypatch.setattr("features.sequences.flat.LONGEST_IN_MEMORY", 0)
    found = read_dataset(tmp_path)
    assert isinstance(found.sequences.event_time.base, np.memmap)
    assert bits(found) == bits(together([shard], HORIZONS))


def test_the_files_are_readable_without_this_project(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(tmp_path, shard, HORIZONS)
    examples = pq.read_table(tmp_path / "examples.parquet").to_pandas()
    assert examples["customer_id"].tolist() == ["a", "b", "a", "b", "é"]
    assert examples["cutoff"].iloc[0] == pd.Timestamp("1970-01-10", tz="UTC")
    assert examples["churn_14"].tolist() == [0, 1, 1, 0, 1]


def test_without_a_customer_the_others_see_what_they_saw(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(shard_folder(tmp_path, 0), shard, HORIZONS)
    assert erase_customer(tmp_path, "b") == 2
    rest = read_shard(shard_folder(tmp_path, 0))
    assert rest.customer_id.to_pylist() == ["a", "a", "é"]
    assert rest.sequences.event_time.tolist() == [DAY + 7, 2 * DAY + 7, 6 * DAY + 7]
    assert rest.sequences.offsets.tolist() == [0, 2, 3]
    assert rest.sequences.history.tolist() == [0, 0, 1]
    assert rest.earlier is not None
    assert rest.earlier.example.tolist() == [1]


def test_a_customer_who_is_not_there_changes_nothing(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(shard_folder(tmp_path, 0), shard, HORIZONS)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    assert erase_customer(tmp_path, "nobody") == 0
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_aggregates_are_read_by_cutoff(shard: ShardExamples, tmp_path: Path) -> None:
    write_shard(shard_folder(tmp_path, 0), shard, HORIZONS)
    cutoff = pd.Timestamp(16 * DAY, unit="us", tz="UTC").to_pydatetime()
    assert aggregates_at(tmp_path, [cutoff])["events_total"].to_pylist() == [2, 3, 1]


def test_one_thread_or_two_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = stored(tmp_path / "events", revisions(9, customers=40, events=600)).as_of(END)
    asked = request(CUTOFFS, QUESTION)
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        monkeypatch.setattr(duckdb_engine, "SHARDS_AT_ONCE", threads)
        DuckDB(StateFolder(tmp_path), events_a_shard=100).write(events, asked, tmp_path / name)
    written = [file.relative_to(tmp_path / "one") for file in sorted((tmp_path / "one").rglob("*.*"))]
    assert len(shards_of(tmp_path / "one")) > 1
    for file in written:
        for other in ("two", "again"):
            assert (tmp_path / other / file).read_bytes() == (tmp_path / "one" / file).read_bytes(), file
    whole = together(DuckDB(StateFolder(tmp_path), events_a_shard=100).shards(events, asked), QUESTION.horizons)
    assert bits(read_dataset(tmp_path / "one")) == bits(whole)
