"""Feature work on a real local Spark; and what its user is told where something is missing."""

import sys
from pathlib import Path

import pytest

from features.examples.merging import together
from pipeline.datasets.engine import Engine, open_engine
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder
from tests.features.test_shard import CUTOFFS, QUESTION, bits
from tests.support.oracle import hold_against_the_plain_reading
from tests.support.stored import stored
from tests.support.worlds.event_worlds import ATTRIBUTES, END, FREQUENT, request, revisions

QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # half the CPU where the JVM lives for seconds only


def test_a_master_that_spark_does_not_know_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _require_spark()
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_START)
    with pytest.raises(RecurError, match=r"Spark at nowhere does not start: .*: check addresses.spark"):
        open_engine("spark", "nowhere", StateFolder(tmp_path))


def test_spark_builds_the_same_bits_from_the_event_store_as_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_spark()
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_START)
    rows, state = revisions(5), StateFolder(tmp_path / "var")
    events, made = stored(tmp_path / "events", rows).as_of(END), request(CUTOFFS, QUESTION)
    duckdb = together(open_engine("duckdb", "local[2]", state).shards(events, made), QUESTION.horizons)
    spark = together(open_engine("spark", "local[2]", state).shards(events, made), QUESTION.horizons)
    assert bits(spark) == bits(duckdb)
    hold_against_the_plain_reading(
        spark, rows, CUTOFFS, END, QUESTION, ATTRIBUTES, QUESTION.spec(ATTRIBUTES, FREQUENT).told_apart
    )


def test_without_java_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="needs the package pyspark: pip install 'pyspark>=4.0.5,<4.1'")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecurError, match=r"needs Java, and there is none on PATH: install Java 17"):
        _open(tmp_path)
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    with pytest.raises(RecurError, match=r'needs Java 17 or later, and .*/java says openjdk version "11.0.2"'):
        _open(tmp_path)


def test_without_pyspark_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("pyspark", "pipeline.datasets.spark_engine")
    for name in [name for name in sys.modules if name.startswith(theirs)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(RecurError, match=r'pyspark is not installed: .venv/bin/pip install "pyspark>=4'):
        _open(tmp_path)


def _open(folder: Path) -> Engine:
    return open_engine("spark", "local[2]", StateFolder(folder))


def _require_spark() -> None:
    pytest.importorskip("pyspark", reason="needs the package pyspark: pip install 'pyspark>=4.0.5,<4.1'")
    from pipeline.datasets.spark_engine import require_java

    try:
        require_java()
    except RecurError as error:
        pytest.skip(str(error))
