"""The current events of some customers are those of a plain reading of everything, in its order."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from duckdb import DuckDBPyConnection

from features.spec import FeatureSpec
from pipeline.config.settings import Settings
from pipeline.event_store import store as event_store
from pipeline.event_store.night_events import NightEvents
from pipeline.event_store.store import EventStore, open_store
from pipeline.runtime import verified
from pipeline.runtime.engine import session
from tests.support.worlds.carried_world import START, made_up_revisions, make_world, write_night

DAYS = 40


@pytest.fixture(scope="module")
def revisions() -> pd.DataFrame:
    """Revisions in three objects, many of one instant, of which some come late, so that objects share instants."""
    made = made_up_revisions(DAYS, 12, 400, seed=9, unusual=0.2)
    made["event_time"] = made["event_time"].dt.floor("12h")
    # Ids say nothing of when an event came.
    made["event_id"] = [f"{int(text[1:]) * 7919 % 10007:05d}" for text in made["event_id"]]
    return made


@pytest.fixture(scope="module")
def settings(revisions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = make_world(tmp_path_factory.mktemp("rows"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_store, "ROWS_A_GROUP", 50)
        ends = [START + timedelta(days=days) for days in (20, 30, 60)]
        for start, end in zip([None, *ends], ends, strict=False):
            write_night(made, revisions, start, end)
    return made


@pytest.fixture
def connection(settings: Settings) -> Iterator[DuckDBPyConnection]:
    with session(settings.state) as opened:
        yield opened


def spec_of(settings: Settings) -> FeatureSpec:
    return settings.question.spec(open_store(settings).attributes)


def expected(revisions: pd.DataFrame, cutoff: datetime) -> pd.DataFrame:
    known = revisions[revisions["known_time"] <= cutoff].sort_values(["known_time", "deleted"], kind="stable")
    current = known.drop_duplicates("event_id", keep="last")
    return current[~current["deleted"]].sort_values(["customer_id", "event_time", "event_id"])


def nones(values: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else value for value in values]


@pytest.mark.parametrize("days", [20, 25, 60])
def test_current_events_are_those_of_a_plain_reading(
    settings: Settings, revisions: pd.DataFrame, connection: DuckDBPyConnection, days: int
) -> None:
    cutoff = START + timedelta(days=days)
    events = NightEvents(open_store(settings), spec_of(settings), cutoff, connection)
    plain = expected(revisions, cutoff)
    some = pa.array(["c0003", "c0001", "c0099"])
    theirs = plain[plain["customer_id"].isin(some.to_pylist())]
    within = plain[(plain["customer_id"] >= "c0002") & (plain["customer_id"] < "c0005")]
    assert len(theirs) > 0
    for found, wanted in ((events.of_customers(some), theirs), (events.between("c0002", "c0005"), within)):
        for name in ("event_id", "customer_id", "event_type", "shop"):
            assert found[name].to_pylist() == nones(wanted[name])
        amounts = found["amount"].to_numpy()
        np.testing.assert_array_equal(amounts, wanted["amount"].to_numpy(float))
    assert len(events.between()) == len(plain)
    assert len(events.of_customers(pa.array(["c0099"]))) == 0


def test_values_that_the_question_excludes_are_left_out(
    settings: Settings, revisions: pd.DataFrame, connection: DuckDBPyConnection
) -> None:
    asked = {"exclude_values": {"shop": ("a",), "items": ("2",)}, "exclude_types": ("visit",)}
    question = settings.question.model_copy(update={**asked, "exclude_customers": ("c0000",)})
    cutoff = START + timedelta(days=60)
    plain = expected(revisions, cutoff)
    kept = plain[
        (plain["shop"] != "a")
        & (plain["items"] != 2)
        & (plain["event_type"] != "visit")
        & (plain["customer_id"] != "c0000")
    ]
    store = open_store(settings)
    found = NightEvents(store, question.spec(store.attributes), cutoff, connection).between()
    assert found["customer_id"].to_pylist() == kept["customer_id"].tolist()
    np.testing.assert_array_equal(found["amount"].to_numpy(), kept["amount"].to_numpy(float))


def test_what_cannot_hold_a_customer_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rows, end = EventStore(tmp_path, {}), 300_000, START + timedelta(days=1)
    columns = {
        "event_id": [f"{row * 7919 % rows:06d}" for row in range(rows)],
        "customer_id": [f"c{row // 100:04d}" for row in range(rows)],
        "event_time": [START] * rows,
        "known_time": [end] * rows,
        "event_type": ["visit"] * rows,
        "amount": [float(row * 7919 % rows) for row in range(rows)],
        "quantity": [1.0] * rows,
        "deleted": [False] * rows,
    }
    store.write(end.date(), pa.table(columns, schema=store.schema), 0)
    handed_out, read = list[int](), verified.VerifiedFile.read

    def counted(file: verified.VerifiedFile, count: int = -1) -> bytes:
        content = read(file, count)
        handed_out.append(len(content))
        return content

    monkeypatch.setattr(verified.VerifiedFile, "read", counted)
    with session() as opened:
        events = NightEvents(store, FeatureSpec(91, (28,)), end, opened)
        assert len(events.of_customers(pa.array(["c0003"]))) == 100
    assert sum(handed_out) < store.path(end.date()).stat().st_size / 4
