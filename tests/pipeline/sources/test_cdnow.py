"""CDNOW: the package's file against pandas, and lines of the same form that are not as they should be."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.sources import bundled, cdnow
from pipeline.sources.bundled import package_folder
from pipeline.sources.factory import first_night, open_source
from pipeline.validation.quarantine import quarantined
from tests.support.worlds.csv_nights import day, ingest

HEADER = " customer_id  date number_of_cds  dollar_value"
installed = pytest.mark.skipif(find_spec("lifetimes") is None, reason="lifetimes is not installed (the extra cdnow)")


def configure(folder: Path, lines: list[str] | None = None) -> Settings:
    text = '[source]\nkind = "cdnow"\n'
    if lines is not None:
        (folder / "master.txt").write_bytes("\r\n".join([HEADER, *lines, ""]).encode())
        text += 'path = "master.txt"\n'
    (folder / "recur.toml").write_text(text)
    return load_settings(folder / "recur.toml")


@installed
def test_cdnow_agrees_with_pandas(tmp_path):
    settings = configure(tmp_path)
    assert open_source(settings).span() == (day("1997-01-01"), day("1998-07-01"))
    assert first_night(open_source(settings).span(), settings.run, settings.question) == day("1998-06-03")
    path = tmp_path / "all.parquet"
    assert open_source(settings).extract(Night(None, day("1998-07-01")), path) == 69_659
    ours = pd.read_parquet(path)
    names = ["customer", "date", "discs", "dollars"]
    plain = pd.read_csv(
        package_folder(cdnow.PACKAGE, "") / cdnow.FILE, sep=r"\s+", skiprows=1, header=None, names=names, dtype=str
    )
    assert ours.customer_id.nunique() == 23_570
    assert ours.customer_id.tolist() == plain.customer.tolist()
    assert ours.event_time.str[:10].str.replace("-", "").tolist() == plain.date.tolist()
    assert ours.amount.tolist() == plain.dollars.tolist()
    assert ours.quantity.tolist() == plain.discs.tolist()
    assert ours.event_id.is_unique
    assert open_source(settings).extract(Night(day("1998-06-30"), day("1998-07-01")), path) == 58


def test_purchases_alike_are_two_events_and_a_broken_line_is_kept(tmp_path):
    lines = [" 00001 19970101  1   11.77"] * 2 + [" 00002 19970102  1", " 00003 19971399  1   9.99", " 4 19970105 2 5"]
    settings = configure(tmp_path, lines)
    outcome = ingest(settings, "1997-01-03")
    assert outcome == {"rows_read": 4, "rows_accepted": 2, "rows_quarantined": 2, "rows_already_known": 0}
    assert [one.reason for one in quarantined(settings)] == ["event_time_unreadable", "unreadable"]
    stored = pd.read_parquet(settings.events / "1997-01-03.parquet")
    assert stored.event_id.tolist() == ["00001-19970101-1", "00001-19970101-2"]
    assert ingest(settings, "1997-01-06")["rows_accepted"] == 1


def test_without_the_package_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(RecurError, match="lifetimes, which holds CDNOW, is not installed: run pip install --no-deps"):
        open_source(configure(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    settings = configure(tmp_path, [])
    (tmp_path / "master.txt").unlink()
    with pytest.raises(RecurError, match=r"master.txt does not exist: run pip install"):
        open_source(settings)
