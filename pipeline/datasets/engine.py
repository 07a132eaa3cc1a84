"""The engine that the configuration names."""

from pathlib import Path
from typing import Literal, Protocol

from features.examples.request import BuildRequest
from features.examples.shard import ShardExamples
from pipeline.datasets.duckdb_engine import DuckDB
from pipeline.event_store.store import AsOf
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder


class Engine(Protocol):
    """What cuts the events into shards of customers, sorts them, and has `build_shard` work on each."""

    @property
    def name(self) -> str: ...

    def write(self, events: AsOf, request: BuildRequest, folder: Path) -> None:
        """Builds the examples of `events` and writes them below `folder`, for `dataset_files.read_dataset`."""

    def shards(self, events: AsOf, request: BuildRequest) -> list[ShardExamples]:
        """The same in memory, their customers ascending; at least one, which may be empty."""


def open_engine(name: Literal["duckdb", "spark"], spark: str, state: StateFolder) -> Engine:
    """The engine `name`, with Spark at the address `spark`. Raises RecurError where Spark lacks something."""
    if name == "duckdb":
        return DuckDB(state)
    try:
        from pipeline.datasets.spark_engine import connect
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in ("pyspark", "py4j"):
            raise
        raise RecurError(
            'run.engine is "spark", and pyspark is not installed: .venv/bin/pip install "pyspark>=4.0.5,<4.1", or '
            'set it to "duckdb"'
        ) from None
    return connect(spark, state)
