"""The quarantine after a fix."""

from pipeline.event_store.store import loaded_nights, night_ending_at
from pipeline.runtime.nights import DAY
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from pipeline.validation.quarantine import Replayed, replay, summary
from tests.pipeline.conftest import World
from tests.support.worlds.nights_by_hand import configure, ingest, write_csv
from tests.support.worlds.trained_world import LATER

ROWS = ["a,2020-01-01,1", ",2020-01-01,2", "b,2020-01-01,much", "c,2020-01-02,3", "z,2020-01-03,1"]


def test_nothing_in_quarantine(tmp_path):
    settings = configure(tmp_path, ROWS[:1])
    assert summary(settings) == []
    assert replay(settings) == Replayed({}, [])


def test_the_summary_shows_a_row_of_each_reason(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    found = [(one.night, one.reason, one.rows) for one in summary(settings)]
    assert found == [("2020-01-02", "amount_unreadable", 1), ("2020-01-02", "customer_id_missing", 1)]
    assert '"much"' in summary(settings)[0].examples[0]
    assert {one.source for one in summary(settings)} == {str(tmp_path / "events.csv")}
    assert [one.reason for one in summary(settings, reason="amount_unreadable")] == ["amount_unreadable"]
    assert summary(settings, night="2020-01-03") == []
    assert summary(settings, examples=0)[0].examples == []


def test_what_a_fix_mends_comes_back(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    assert replay(settings) == Replayed({"2020-01-02": 0}, None)
    write_csv(tmp_path, [row.replace("much", "12") for row in ROWS])
    assert replay(settings) == Replayed({"2020-01-02": 1}, None)
    assert [one.reason for one in summary(settings)] == ["customer_id_missing"]
    assert len(loaded_nights(settings)) == 2


def test_rows_of_several_files_are_told_apart(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", ",2020-01-01,2"])
    both = settings.source.model_copy(update={"path": "ev*.csv"})
    settings = settings.model_copy(update={"source": both})
    (tmp_path / "evening.csv").write_text("who,when,eur\n,2020-01-01 20:00,1\nz,2020-01-03,1\n")
    ingest(settings, "2020-01-02")
    found = [(one.source.rpartition("/")[2], one.reason) for one in summary(settings)]
    assert found == [("evening.csv", "customer_id_missing"), ("events.csv", "customer_id_missing")]


def test_whose_scores_a_replay_changes(own_world: World):
    settings = own_world.settings
    recent = own_world.events[own_world.events["event_time"] >= LATER - 20 * DAY]
    customer = str(recent.groupby("customer_id").event_time.max().idxmin())  # silent the longest of these
    events = settings.source_path.read_text("utf-8")
    bad, closing = f"x,{customer},{LATER - DAY:%Y-%m-%d} 20:00,much,a\n", f"y,cust-000,{LATER:%Y-%m-%d} 10:00,5,a\n"
    settings.source_path.write_text(events + bad + closing, "utf-8")
    night = night_ending_at(settings, LATER)
    extract(settings, night, afresh=True)
    validate(settings, night)
    load(settings, night)
    settings.source_path.write_text(events + bad.replace("much", "12") + closing, "utf-8")
    outcome = replay(settings)
    assert outcome.brought_back == {LATER.date().isoformat(): 1}
    assert outcome.changes
    [change] = outcome.changes
    assert change.customer_id == customer
    assert change.before is not None
    assert change.after is not None
    assert change.after < change.before  # a purchase the day before the cutoff
