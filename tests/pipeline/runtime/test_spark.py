"""Feature work on a real local Spark; and what its user is told where something is missing."""

import sys
from pathlib import Path

import pytest

from features.build import build_dataset
from pipeline.config.sections import Addresses, Run
from pipeline.config.settings import Settings
from pipeline.runtime.engine import connect
from pipeline.runtime.errors import RecurError
from tests.features.test_build import CUTOFFS, QUESTION, bits
from tests.support.oracle import hold_against_the_plain_reading
from tests.support.stored import stored
from tests.support.worlds.event_worlds import ATTRIBUTES, END, revisions

QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # half the CPU where the JVM lives for seconds only


def test_a_master_that_spark_does_not_know_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _on_spark(tmp_path).model_copy(update={"addresses": Addresses(spark="nowhere")})
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_START)
    with pytest.raises(RecurError, match=r"Spark at nowhere does not start: .*: check addresses.spark"):
        connect(settings)


def test_spark_builds_the_same_bits_from_the_event_store_as_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _on_spark(tmp_path)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_START)
    rows = revisions(5)
    store, built = stored(tmp_path / "events", rows), {}
    for name, asked in (("duckdb", Settings(root=tmp_path)), ("spark", settings)):
        backend = connect(asked)
        built[name] = build_dataset(store.as_of(backend, END), CUTOFFS, QUESTION, ATTRIBUTES, END)
        backend.disconnect()
    assert bits(built["spark"]) == bits(built["duckdb"])
    hold_against_the_plain_reading(built["spark"], rows, CUTOFFS, END, QUESTION, ATTRIBUTES)


def test_without_java_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="needs the package pyspark: pip install 'pyspark>=4.0.5,<4.1'")
    settings = Settings(root=tmp_path, run=Run(engine="spark"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecurError, match=r"needs Java, and there is none on PATH: install Java 17"):
        connect(settings)
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    with pytest.raises(RecurError, match=r'needs Java 17 or later, and .*/java says openjdk version "11.0.2"'):
        connect(settings)


def test_without_pyspark_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("pyspark", "pipeline.runtime.spark", "ibis.backends.pyspark")
    for name in [name for name in sys.modules if name.startswith(theirs)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(RecurError, match=r'pyspark is not installed: .venv/bin/pip install "pyspark>=4'):
        connect(Settings(root=tmp_path, run=Run(engine="spark")))


def _on_spark(folder: Path) -> Settings:
    pytest.importorskip("pyspark", reason="needs the package pyspark: pip install 'pyspark>=4.0.5,<4.1'")
    from pipeline.runtime.spark import require_java

    try:
        require_java()
    except RecurError as error:
        pytest.skip(str(error))
    return Settings(root=folder, run=Run(engine="spark"))
