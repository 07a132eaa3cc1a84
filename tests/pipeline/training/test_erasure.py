"""Erasing a customer from a training: what models predicted of altered histories stays beside the right examples."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import occurring
from pipeline.datasets.dataset_files import erase_customer, shards_of
from pipeline.datasets.shard_files import horizons_of, read_shard, write_shard
from pipeline.runtime.paths import StateFolder
from pipeline.training.ablations import SCHEMA
from pipeline.training.erasure import _without, erase
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST

TESTED = ["ann", "bob", "ann", "cid", "bob", "cid", "ann"]  # of two windows, three and four examples
WINDOWS = [0, 0, 0, 1, 1, 1, 1]
ALTERED = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (1, 3)]  # window, row


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The folder of a training whose model was also asked of altered histories: what it said names who was asked."""
    folder = tmp_path / "snapshots" / "2020-01-01"
    for name in ("predictions", "altered"):
        (folder / name).mkdir(parents=True)
    rows = [
        {"seed": seed, "window": window, "slice": part, "customer_id": customer, "horizon_days": days}
        for seed in (0, 1)
        for part in ("valid", "test")
        for days in (28, 56)
        for customer, window in zip(TESTED, WINDOWS, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "predictions" / "gru.parquet")
    altered = [
        {"window": window, "altered": "order", "row": row, "churn_probability": float(ord(whose(window, row)[0]))}
        for window, row in ALTERED
    ]
    pq.write_table(pa.Table.from_pylist(altered, SCHEMA), folder / "altered" / "gru.parquet")
    return folder


def whose(window: int, row: int, tested: list[tuple[int, str]] | None = None) -> str:
    return [who for number, who in tested or list(zip(WINDOWS, TESTED, strict=True)) if number == window][row]


def check(folder: Path, forgotten: str) -> None:
    rest = [(window, who) for window, who in zip(WINDOWS, TESTED, strict=True) if who != forgotten]
    table = pq.read_table(folder / "altered" / "gru.parquet")
    assert len(table) == sum(whose(*each) != forgotten for each in ALTERED)
    for row in table.to_pylist():
        assert ord(whose(row["window"], row["row"], rest)[0]) == row["churn_probability"]
    assert forgotten not in pq.read_table(folder / "predictions" / "gru.parquet")["customer_id"].to_pylist()
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("forgotten", ["ann", "bob", "cid"])
def test_altered_histories_keep_their_examples(training: Path, tmp_path: Path, forgotten: str) -> None:
    for _ in range(2):
        erase(StateFolder(tmp_path), forgotten)
        check(training, forgotten)


def test_a_kill_between_the_two_files_is_made_good(training: Path, tmp_path: Path) -> None:
    predictions, altered = training / "predictions" / "gru.parquet", training / "altered" / "gru.parquet"
    rewritten = _without(pq.read_table(altered), pq.read_table(predictions), "bob")
    pq.write_table(rewritten, altered.with_name(".gru.parquet.erased"))
    table = pq.read_table(predictions)
    pq.write_table(table.filter(pa.compute.not_equal(table["customer_id"], "bob")), predictions)
    erase(StateFolder(tmp_path), "bob")
    check(training, "bob")


def test_texts_that_no_step_has_leave_a_snapshot(own_world: World) -> None:
    """As those of a customer who is in a shard's texts and has no example."""
    folder = own_world.settings.state.snapshot(FIRST)
    shard = shards_of(folder)[0]
    examples = read_shard(shard)
    codes, values = examples.sequences.categorical["event_type"]
    examples.sequences.categorical["event_type"] = (codes, [*values, "a-text-of-theirs"])
    write_shard(shard, examples, horizons_of(shard))
    assert "a-text-of-theirs" in (shard / "dataset.json").read_text()
    assert erase_customer(folder, "nobody") == 0
    assert "a-text-of-theirs" not in (shard / "dataset.json").read_text()
    after = read_shard(shard).sequences.categorical["event_type"]
    assert occurring(after) is after
    assert [after[1][code] for code in after[0][:50]] == [values[code] for code in codes[:50]]
