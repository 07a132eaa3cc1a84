"""The event store: atomic objects, and exactly what was known at a time."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.event_store.objects import scan
from pipeline.event_store.store import EventStore, event_schema
from pipeline.runtime.engine import session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.manifest import FORMAT, NAME, Manifest
from pipeline.runtime.sealed import DamagedError, write_sealed
from tests.support.stored import rows_of
from tests.support.worlds.csv_nights import day
from tests.support.worlds.damage import DAMAGES, harm

START = datetime(2020, 1, 1, tzinfo=UTC)


def table(rows: list[tuple[str, int, float]]) -> pa.Table:
    """Events of `(event_id, known hours after START, amount)`."""
    known = [START + timedelta(hours=hours) for _, hours, _ in rows]
    columns = {
        "event_id": [identity for identity, _, _ in rows],
        "customer_id": ["a"] * len(rows),
        "event_time": [START] * len(rows),
        "known_time": known,
        "event_type": ["event"] * len(rows),
        "amount": [amount for _, _, amount in rows],
        "quantity": [None] * len(rows),
        "deleted": [False] * len(rows),
    }
    return pa.table(columns, schema=event_schema({}))


versions = st.lists(
    st.tuples(st.sampled_from("xyz"), st.integers(1, 95), st.sampled_from([1.0, 2.0])),
    unique_by=lambda row: row[:2],
    max_size=12,
)


@hypothesis_settings(max_examples=25, deadline=None)
@given(rows=versions, asked=st.integers(0, 4))
def test_as_of_agrees_with_pandas(tmp_path_factory, rows, asked):
    store = EventStore(tmp_path_factory.mktemp("events"), {})
    rows = sorted(rows, key=lambda row: (row[0], row[1]))
    for night in range(1, 5):
        within = [row for row in rows if 24 * (night - 1) < row[1] <= 24 * night]
        store.write(date(2020, 1, 1 + night), table(within))
    cutoff = START + timedelta(days=asked)
    found = rows_of(store.as_of(cutoff))
    known = pd.DataFrame(rows, columns=["event_id", "hours", "amount"]).query("hours <= 24 * @asked")
    following = known.groupby("event_id").hours.shift(-1)
    assert found.event_id.tolist() == known.event_id.tolist()
    assert found.amount.tolist() == known.amount.tolist()
    hours = (found.superseded_time - pd.Timestamp(START)).dt.total_seconds() / 3600
    assert hours.fillna(-1).tolist() == following.fillna(-1).tolist()


def test_later_nights_change_nothing_of_what_was_known(tmp_path):
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("x", 24, 1.0)]))
    before = rows_of(store.as_of(day("2020-01-02")))
    store.write(date(2020, 1, 3), table([("x", 48, 2.0), ("y", 48, 1.0)]), corrections=1)
    pd.testing.assert_frame_equal(rows_of(store.as_of(day("2020-01-02"))), before)


def test_asked_for_late_events_alone_earlier_nights_are_not_read(tmp_path):
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("x", 24, 1.0)]))
    later = table([("x", 72, 2.0), ("y", 72, 1.0)])
    moments = pa.array([START, START + timedelta(days=2)], later.schema.field("event_time").type)
    store.write(date(2020, 1, 4), later.set_column(2, later.schema.field("event_time"), moments), corrections=1)
    found = rows_of(store.as_of(day("2020-01-04"), since=day("2020-01-02")))
    assert found.event_id.tolist() == ["y"]
    path = store.path(date(2020, 1, 2))
    path.write_bytes(bytes(path.stat().st_size))  # as many bytes, so that only reading them tells
    assert len(rows_of(store.as_of(day("2020-01-04"), since=day("2020-01-02")))) == 1
    assert rows_of(store.as_of(day("2020-01-04"), since=day("2020-01-09"))).empty


def test_the_same_rows_make_the_same_bytes_however_they_come(tmp_path):
    store = EventStore(tmp_path, {})
    events = table([(f"{place:06d}", 1, 1.0) for place in range(300_000)])
    store.write(date(2020, 1, 2), events)
    whole = store.path(date(2020, 1, 2)).read_bytes()
    reader = pa.RecordBatchReader.from_batches(events.schema, events.to_batches(max_chunksize=777))
    store.write(date(2020, 1, 2), reader)
    assert store.path(date(2020, 1, 2)).read_bytes() == whole
    assert pq.read_table(store.path(date(2020, 1, 2))).num_rows == 300_000


def test_a_write_that_fails_leaves_the_object_as_it_was(tmp_path):
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("x", 1, 1.0)]))
    before = store.path(date(2020, 1, 2)).read_bytes()

    def breaks_off():
        yield from table([("y", 1, 1.0)]).to_batches()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        store.write(date(2020, 1, 2), pa.RecordBatchReader.from_batches(event_schema({}), breaks_off()))
    assert store.path(date(2020, 1, 2)).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2020-01-02.parquet", "_manifest.json"]


def test_an_empty_store_and_a_damaged_object_are_named(tmp_path):
    store = EventStore(tmp_path, {})
    with pytest.raises(RecurError, match="holds no night"):
        store.as_of(day("2020-01-02"))
    store.path(date(2020, 1, 2)).write_bytes(b"half a file")
    with pytest.raises(RecurError, match=r"2020-01-02.parquet cannot be read"):
        store.as_of(day("2020-01-02"))


@pytest.mark.parametrize("damage", [*DAMAGES, "garbage", "a dangling link"])
def test_a_damaged_object_is_named_before_it_is_read(tmp_path, damage):
    store = EventStore(tmp_path / "events", {})
    for night in (2, 3):
        store.write(date(2020, 1, night), table([(f"{night}", 24 * (night - 1), 1.0)]), 0)
    harm(store.path(date(2020, 1, 3)), damage)
    with pytest.raises(DamagedError, match=r"2020-01-03\.parquet.*backup"), session() as connection:
        connection.sql(store.as_of(day("2020-01-03")).in_duckdb).fetchall()


def test_a_store_without_a_manifest_is_taken_over_once(tmp_path, caplog):
    store = EventStore(tmp_path, {})
    for night in (2, 3):
        store.write(date(2020, 1, night), table([(f"{night}", 24 * (night - 1), 1.0)]), 0)
    written = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).unlink()
    assert store.nights() == [date(2020, 1, 2), date(2020, 1, 3)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert (tmp_path / NAME).read_bytes() == written
    store.path(date(2020, 1, 2)).unlink()
    with pytest.raises(DamagedError, match="is missing"):
        store.as_of(day("2020-01-03"))


def test_whatever_instant_kills_a_writer_the_object_is_one_of_the_two_described(tmp_path):
    store, night = EventStore(tmp_path, {}), date(2020, 1, 2)
    store.write(night, table([("x", 1, 1.0)]))
    before = store.path(night).read_bytes(), (tmp_path / NAME).read_bytes()
    store.write(night, table([("x", 1, 1.0), ("y", 2, 1.0)]))
    after, [entry] = store.path(night).read_bytes(), Manifest.read(tmp_path).entries.values()
    (tmp_path / NAME).write_bytes(before[1])
    replace(Manifest.read(tmp_path), pending={store.path(night).name: entry}).write()
    for content, rows in ((before[0], 1), (after, 2)):
        store.path(night).write_bytes(content)
        assert len(rows_of(store.as_of(day("2020-01-02")))) == rows
    assert store.nights() == [night]


def test_the_manifest_of_a_later_recur_is_refused(tmp_path):
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("x", 1, 1.0)]))
    write_sealed(tmp_path / NAME, {"files": {}}, FORMAT + 1)
    with pytest.raises(RecurError, match=r"of a later recur.*update recur"):
        store.nights()


def test_an_object_from_elsewhere_is_not_read(tmp_path):
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("x", 1, 1.0)]))
    shutil.copy(store.path(date(2020, 1, 2)), store.path(date(2020, 1, 3)))
    with pytest.raises(RecurError, match=r"2020-01-03.parquet is not in the manifest"):
        store.as_of(day("2020-01-03"))


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """Not the traceback in which DuckDB would word it."""
    store = EventStore(tmp_path, {})
    store.write(date(2020, 1, 2), table([("a", 1, 1.0)]))
    object_ = store.path(date(2020, 1, 2))
    object_.unlink()
    object_.mkdir()
    with pytest.raises(IsADirectoryError, match="2020-01-02"), session() as connection:
        connection.execute(f"select * from {scan([object_])}").fetchall()
    with (
        pytest.raises(RecurError, match=r"^IO Error: .*nowhere.*: check that it exists and is yours$"),
        session() as connection,
    ):
        connection.execute(f"copy (select 1) to '{tmp_path}/nowhere/file.parquet'")
