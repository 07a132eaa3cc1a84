"""Forgetting a customer: nothing of them stays under `paths.var`, and nobody else loses a row."""

import pandas as pd

from pipeline.forget import forget
from pipeline.quarantine import summary
from tests.pipeline.nights_by_hand import configure, ingest

ROWS = [
    "Wilhelmina,2020-01-01 08:00,1",
    "b,2020-01-01 09:00,2",
    "Wilhelmina,never,2",
    "Wilhelmina,2020-01-01 10:00,3,4",
    "z,2020-01-02,1",
]


def test_nothing_of_a_forgotten_customer_stays(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    removed = forget(settings, "Wilhelmina")
    assert (removed["events"], removed["accepted"], removed["staged"], removed["quarantine"]) == (1, 1, 3, 2)
    for file in settings.var.rglob("*.parquet"):
        assert (
            not pd.read_parquet(file).astype(str).apply(lambda column: column.str.contains("Wilhelmina")).any(axis=None)
        )
    assert pd.read_parquet(settings.events / "2020-01-02.parquet").customer_id.tolist() == ["b"]
    assert summary(settings) == []


def test_forgetting_twice_or_nobody_changes_no_byte(tmp_path):
    settings = configure(tmp_path, ROWS)
    ingest(settings, "2020-01-02")
    forget(settings, "Wilhelmina")
    before = {file: file.read_bytes() for file in settings.var.rglob("*.parquet")}
    assert not any(forget(settings, "Wilhelmina").values())
    assert not any(forget(settings, "Nobody").values())
    assert {file: file.read_bytes() for file in settings.var.rglob("*.parquet")} == before
