"""A dataset comes back from its files bit for bit, and without a customer nothing of theirs is left."""

from dataclasses import replace
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.build import build_dataset
from features.dataset import Dataset, Labels, Sequences
from pipeline.training.dataset_files import read_dataset, without_customer, write_dataset
from tests.features.test_build import CUTOFFS, QUESTION
from tests.support.stored import stored
from tests.support.worlds.event_worlds import ATTRIBUTES, END, revisions

DAY = 86_400_000_000


@pytest.fixture
def data() -> Dataset:
    """Three histories (the middle one is another customer's), five examples, a value and a label that are missing."""
    return Dataset(
        horizons=(14, 28),
        customer_id=np.array(["a", "b", "a", "b", "é"], dtype=object),
        cutoff=np.array([9, 9, 16, 16, 16]) * DAY,
        aggregates=pd.DataFrame({"events_total": [1.0, 2, 2, 3, 1], "gap_mean": [np.nan, 0.1 + 0.2, 3, 4, np.nan]}),
        sequences=Sequences(
            offsets=np.array([0, 2, 5, 6]),
            event_time=np.array([1, 2, 3, 4, 5, 6]) * DAY + 7,
            numeric={"amount": np.array([1.1, np.nan, 3, 4, 5, -0.0])},
            categorical={"shop": (np.array([0, 1, 0, -1, 1, 0], dtype=np.int32), ["north", "süd"])},
            history=np.array([0, 1, 0, 1, 2]),
            length=np.array([1, 2, 2, 3, 1]),
        ),
        labels=Labels(*(np.array([[0.0, np.nan], [1, 0], [1, 1], [0, 0], [1, np.nan]]) + kind for kind in (0, 1, 2))),
    )


def same(left: Dataset, right: Dataset) -> bool:
    pd.testing.assert_frame_equal(left.aggregates, right.aggregates, check_exact=True)
    pairs = [
        (left.customer_id, right.customer_id),
        (left.cutoff, right.cutoff),
        *((getattr(left.sequences, name), getattr(right.sequences, name)) for name in ("offsets", "event_time")),
        *((getattr(left.sequences, name), getattr(right.sequences, name)) for name in ("history", "length")),
        *((left.sequences.numeric[name], right.sequences.numeric[name]) for name in left.sequences.numeric),
        *((left.sequences.categorical[name][0], codes) for name, (codes, _) in right.sequences.categorical.items()),
    ]
    if left.labels and right.labels:
        pairs += [(getattr(left.labels, kind), getattr(right.labels, kind)) for kind in ("churn", "purchases", "spend")]
    for mine, other in pairs:
        np.testing.assert_array_equal(mine, other, strict=True)
    values = [{name: values for name, (_, values) in side.sequences.categorical.items()} for side in (left, right)]
    return (
        left.horizons == right.horizons and values[0] == values[1] and (left.labels is None) == (right.labels is None)
    )


def test_what_is_written_is_what_is_read(data: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path, data)
    assert same(read_dataset(tmp_path), data)


def test_without_labels_too(data: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path, replace(data, labels=None))
    assert same(read_dataset(tmp_path), replace(data, labels=None))


def test_steps_in_shards_and_in_files_of_their_own_are_the_same(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.dataset_files.STEPS_A_SHARD", 2)
    monkeypatch.setattr("features.sequences.flat.LONGEST_IN_MEMORY", 0)
    write_dataset(tmp_path, data)
    shards = [pq.read_metadata(file).num_rows for file in sorted((tmp_path / "steps").iterdir())]
    assert shards == [2, 3, 1]  # whole histories
    found = read_dataset(tmp_path)
    assert same(found, data)
    assert isinstance(found.sequences.event_time.base, np.memmap)
    write_dataset(tmp_path, without_customer(data, "b"))  # nothing of a shard that is no longer needed is left
    assert same(read_dataset(tmp_path), without_customer(data, "b"))


def test_the_files_are_readable_without_this_project(data: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path, data)
    examples = pq.read_table(tmp_path / "examples.parquet").to_pandas()
    assert examples["customer_id"].tolist() == ["a", "b", "a", "b", "é"]
    assert examples["cutoff"].iloc[0] == pd.Timestamp("1970-01-10", tz="UTC")
    assert examples["churn_14"].tolist() == [0, 1, 1, 0, 1]


def test_without_a_customer_the_others_see_what_they_saw(data: Dataset) -> None:
    rest = without_customer(data, "b")
    assert rest.customer_id.tolist() == ["a", "a", "é"]
    assert rest.sequences.event_time.tolist() == [DAY + 7, 2 * DAY + 7, 6 * DAY + 7]
    assert rest.sequences.offsets.tolist() == [0, 2, 3]
    assert rest.sequences.history.tolist() == [0, 0, 1]
    mine, theirs = rest.sequences, data.select(data.customer_id != "b").sequences
    np.testing.assert_array_equal(mine.event_time[mine.last_step], theirs.event_time[theirs.last_step])


def test_a_customer_who_is_not_there_changes_nothing(data: Dataset) -> None:
    assert same(without_customer(data, "nobody"), data)


def test_one_thread_or_two_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stored(tmp_path / "events", revisions(9, customers=40, events=600))
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        monkeypatch.setattr("features.build.SHARDS_AT_ONCE", threads)
        engine = ibis.duckdb.connect(threads=threads)
        engine.raw_sql("set TimeZone = 'UTC'")
        data = build_dataset(store.as_of(engine, END), CUTOFFS, QUESTION, ATTRIBUTES, END, events_a_shard=100)
        write_dataset(tmp_path / name, data)
        engine.disconnect()
    written = [file.relative_to(tmp_path / "one") for file in sorted((tmp_path / "one").rglob("*.*"))]
    assert len(written) == 5
    for file in written:
        for other in ("two", "again"):
            assert (tmp_path / other / file).read_bytes() == (tmp_path / "one" / file).read_bytes(), file
