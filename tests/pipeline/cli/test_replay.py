"""The quarantine after a fix."""

from pathlib import Path

import pytest

from pipeline.cli.replay import replay
from pipeline.config.sections import Addresses
from pipeline.event_store.objects import loaded_nights
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.steps.validate import validate
from pipeline.validation.quarantine import quarantined
from tests.pipeline.conftest import World
from tests.support.worlds.csv_nights import configure, ingest, write_csv
from tests.support.worlds.trained_world import LATER

ROWS = ["a,2020-01-01,1", ",2020-01-01,2", "b,2020-01-01,much", "c,2020-01-02,3", "z,2020-01-03,1"]


def test_nothing_to_replay(tmp_path):
    assert replay(configure(tmp_path, ROWS[:1])) == ({}, [])


def test_what_a_fix_mends_comes_back(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    assert replay(settings) == ({"2020-01-02": 0}, None)
    write_csv(tmp_path, [row.replace("much", "12") for row in ROWS])
    assert replay(settings) == ({"2020-01-02": 1}, None)
    assert [one.reason for one in quarantined(settings)] == ["customer_id_missing"]
    assert len(loaded_nights(settings.events)) == 2


def test_whose_scores_a_replay_changes(own_world: World, empty_mlflow: Path):
    settings = own_world.settings
    recent = own_world.events[own_world.events["event_time"] >= LATER - 20 * DAY]
    customer = str(recent.groupby("customer_id").event_time.max().idxmin())  # silent the longest of these
    events = settings.source_path.read_text("utf-8")
    bad, closing = f"x,{customer},{LATER - DAY:%Y-%m-%d} 20:00,much,a\n", f"y,cust-000,{LATER:%Y-%m-%d} 10:00,5,a\n"
    settings.source_path.write_text(events + bad + closing, "utf-8")
    night = night_ending_at(settings.events, LATER)
    extract(settings, night, afresh=True)
    validate(settings, night)
    load(settings, night)
    settings.source_path.write_text(events + bad.replace("much", "12") + closing, "utf-8")
    score(settings, night)
    publish(settings, night)
    lost = settings.model_copy(update={"addresses": Addresses(mlflow=f"sqlite:///{empty_mlflow}")})
    with pytest.raises(RecurError, match="knows no champion"):
        replay(lost)
    brought_back, changes = replay(settings)
    assert brought_back == {LATER.date().isoformat(): 1}
    assert changes
    [change] = changes
    assert change.customer_id == customer
    assert change.before is not None
    assert change.after is not None
    assert change.after < change.before  # a purchase the day before the cutoff
