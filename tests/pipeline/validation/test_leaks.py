"""`recur check --leaks`: planted leaks are named, and a clean source has none."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.validation.leaks import CheckResult, leaks
from tests.pipeline.conftest import World
from tests.support.worlds.csv_nights import COLUMNS, configure, ingest
from tests.support.worlds.trained_world import FIRST


def leaks_of(settings: Settings) -> list[CheckResult]:
    return leaks(open_store(settings), settings.state)


def test_a_clean_source_has_none(fresh_world: World) -> None:
    assert {finding.state for finding in leaks_of(fresh_world.settings)} == {"right"}


def test_events_known_before_they_happened_are_wrong(fresh_world: World) -> None:
    store = open_store(fresh_world.settings)
    table = pq.read_table(store.path(FIRST.date()))
    times = [
        moment + timedelta(days=400) if place < 3 else moment
        for place, moment in enumerate(table["event_time"].to_pylist())
    ]
    place = table.schema.get_field_index("event_time")
    store.write(FIRST.date(), table.set_column(place, "event_time", [times]).cast(store.schema), 0)
    clocks = leaks_of(fresh_world.settings)[0]
    assert clocks.state == "wrong"
    assert clocks.words.startswith("3 events were known before they happened and 3 lie past the end of their night")


def test_an_attribute_as_of_today_is_for_a_person_to_judge(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=4, freq="7D")
    rows = [f"c{number},{day:%Y-%m-%d},5,{100 * number}" for number in range(30) for day in days]
    columns = COLUMNS | {"lifetime_value": "ltv"}
    settings = configure(tmp_path, [*rows, "last,2020-03-01,5,1"], header="who,when,eur,ltv", columns=columns)
    ingest(settings, "2020-02-15")
    doubtful = [finding.words for finding in leaks_of(settings) if finding.state == "doubtful"]
    assert len(doubtful) == 2
    assert "called like the future (lifetime)" in doubtful[0]
    assert "never changes for 30 of 30 customers" in doubtful[1]


def test_without_events_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    settings = configure(tmp_path, ["ann,2020-01-01,5", "ann,2020-03-01,5"])
    assert [finding.state for finding in leaks_of(settings)] == ["doubtful"]
