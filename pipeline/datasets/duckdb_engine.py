"""DuckDB cuts the events into shards of customers and sorts them; `build_shard` works on each."""

import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import duckdb

from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import ShardExamples, build_shard
from pipeline.datasets.cut import COLUMNS, first_customers
from pipeline.datasets.shard_files import shard_folder, write_shard
from pipeline.event_store.store import AsOf
from pipeline.runtime.engine import literal, memory_limit, quoted, session
from pipeline.runtime.paths import StateFolder

SHARDS_AT_ONCE = 2


@dataclass(frozen=True)
class DuckDB:
    """The embedded engine. Customers are worked through about `events_a_shard` events at a time (None: as fits), two
    shards at once, which changes no bit of any feature, label or step.
    """

    state: StateFolder | None = None
    events_a_shard: int | None = None

    @property
    def name(self) -> str:
        return f"duckdb {duckdb.__version__}"

    def write(self, events: AsOf, request: BuildRequest, folder: Path) -> None:
        """Builds the examples of `events` and writes them below `folder`, shard by shard."""
        shutil.rmtree(folder / "shards", ignore_errors=True)
        with session(self.state, memory_limit()) as connection:
            for number, shard in enumerate(self._built(connection, events, request)):
                write_shard(shard_folder(folder, number), shard, request.spec.horizons)

    def shards(self, events: AsOf, request: BuildRequest) -> list[ShardExamples]:
        """The same in memory, their customers ascending; at least one, which may be empty."""
        with session(self.state, memory_limit()) as connection:
            return list(self._built(connection, events, request))

    def _built(
        self, connection: duckdb.DuckDBPyConnection, events: AsOf, request: BuildRequest
    ) -> Iterator[ShardExamples]:
        engine = Lock()  # it answers one query at a time, while arrays are worked on beside it
        relation = f"({events.in_duckdb})"
        columns = ", ".join(quoted(name) for name in (*COLUMNS, *events.attributes))

        def built(first: str | None, following: str | None) -> ShardExamples:
            ends = [("customer_id >= ", first), ("customer_id < ", following)]
            within = " and ".join(f"{end}{literal(text)}" for end, text in ends if text is not None) or "true"
            query = f"select {columns} from {relation} where {within} order by {', '.join(ORDER)}"
            with engine:
                table = connection.sql(query).to_arrow_table()
            return build_shard(table, request)

        with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
            waiting: deque[Future[ShardExamples]] = deque()
            firsts = first_customers(
                lambda query: connection.sql(query).to_arrow_table(), relation, self.events_a_shard
            )
            for first, following in zip([None, *firsts], [*firsts, None], strict=True):
                waiting.append(pool.submit(built, first, following))
                if len(waiting) > SHARDS_AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
