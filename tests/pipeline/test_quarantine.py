"""The quarantine after a fix."""

from pipeline.quarantine import replay, summary
from pipeline.store.event_store import loaded_nights
from tests.pipeline.nights_by_hand import configure, ingest, write_csv

ROWS = ["a,2020-01-01,1", ",2020-01-01,2", "b,2020-01-01,much", "c,2020-01-02,3", "z,2020-01-03,1"]


def test_nothing_in_quarantine(tmp_path):
    settings = configure(tmp_path, ROWS[:1])
    assert summary(settings) == []
    assert replay(settings) == {}


def test_the_summary_shows_a_row_of_each_reason(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    found = [(one.night, one.reason, one.rows) for one in summary(settings)]
    assert found == [("2020-01-02", "amount_unreadable", 1), ("2020-01-02", "customer_id_missing", 1)]
    assert '"much"' in summary(settings)[0].example


def test_what_a_fix_mends_comes_back(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    assert replay(settings) == {"2020-01-02": 0}
    write_csv(tmp_path, [row.replace("much", "12") for row in ROWS])
    assert replay(settings) == {"2020-01-02": 1}
    assert [one.reason for one in summary(settings)] == ["customer_id_missing"]
    assert len(loaded_nights(settings)) == 2
