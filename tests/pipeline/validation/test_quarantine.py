"""What was set aside is listed by night, source and reason."""

from pipeline.validation.quarantine import quarantined
from tests.support.worlds.csv_nights import configure, ingest

ROWS = ["a,2020-01-01,1", ",2020-01-01,2", "b,2020-01-01,much", "c,2020-01-02,3", "z,2020-01-03,1"]


def test_nothing_in_quarantine(tmp_path):
    assert quarantined(configure(tmp_path, ROWS[:1])) == []


def test_the_summary_shows_a_row_of_each_reason(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    ingest(settings, "2020-01-03")
    groups = quarantined(settings)
    expected = [("2020-01-02", "amount_unreadable", 1), ("2020-01-02", "customer_id_missing", 1)]
    assert [(group.night, group.reason, group.rows) for group in groups] == expected
    assert '"much"' in groups[0].examples[0]
    assert {group.source for group in groups} == {str(tmp_path / "events.csv")}
    assert quarantined(settings, reason="amount_unreadable") == groups[:1]
    assert quarantined(settings, night="2020-01-03") == []
    assert quarantined(settings, examples=0)[0].examples == []


def test_rows_of_several_files_are_listed_by_file(tmp_path):
    settings = configure(tmp_path, ["a,2020-01-01,1", ",2020-01-01,2"])
    both = settings.source.model_copy(update={"path": "ev*.csv"})
    settings = settings.model_copy(update={"source": both})
    (tmp_path / "evening.csv").write_text("who,when,eur\n,2020-01-01 20:00,1\nz,2020-01-03,1\n")
    ingest(settings, "2020-01-02")
    groups = quarantined(settings)
    files = [(group.source.rpartition("/")[2], group.reason) for group in groups]
    assert files == [("evening.csv", "customer_id_missing"), ("events.csv", "customer_id_missing")]
