"""A world that arrives night by night, with late, corrected, moved and deleted events and histories of every length,
and predictions from carried state beside those from whole histories.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.time import microseconds
from models.base import Model
from models.spec import ModelSpec
from pipeline.config.settings import Settings, load_settings
from pipeline.datasets.duckdb_engine import DuckDB
from pipeline.event_store.store import open_store
from pipeline.runtime.nights import DAY
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.state_updater import EVENTS_A_SHARD, StateUpdater
from pipeline.training.registry import Version

START = datetime(2021, 3, 1, tzinfo=UTC)
TOML = """
[source]
kind = "csv"
path = "events.csv"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
amount = "eur"
items = "items"
shop = "shop"
[question]
active_within = 45
horizons = [14, 28]
"""


def make_world(folder: Path) -> Settings:
    """Settings with an empty store under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.csv").write_text("who,when,eur,items,shop\nc,2021-03-01 10:00:00,1.5,2,a\n", "utf-8")
    (folder / "recur.toml").write_text(TOML, "utf-8")
    return load_settings(folder / "recur.toml")


def made_up_revisions(days: int, customers: int, busiest: int, seed: int, unusual: float = 0.04) -> pd.DataFrame:
    """Revisions of events over so many days from START, known at the end of a day. The busiest customer has about
    `busiest` events, the others ever fewer, some one; a share is late, and a share corrected or deleted later.
    """
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for customer in range(customers):
        arrives = random.uniform(0, 0.8 * days) if customer else 0.0
        size = max(int(busiest / (customer + 1) ** 1.7), 1 + customer % 3)
        for moment in np.sort(random.uniform(arrives, days, size)):
            # Whole minutes, so that some events of a customer share an instant.
            time = START + timedelta(minutes=int(moment * 1440))
            known = datetime.combine(time.date() + DAY, datetime.min.time(), UTC)
            row: dict[str, object] = {
                "event_id": f"e{len(rows):06d}",
                "customer_id": f"c{customer:04d}",
                "event_time": time,
                "known_time": known + DAY * int(random.integers(1, 40) if random.random() < unusual else 0),
                "event_type": random.choice(["visit", "purchase"]),
                "amount": None if random.random() < 0.2 else round(float(random.lognormal(2, 1)), 2),
                "quantity": float(random.integers(1, 5)),
                "deleted": False,
                "items": float(random.integers(0, 4)),
                "shop": None if random.random() < 0.1 else str(random.choice(["a", "b", "c"])),
            }
            rows.append(row)
            if random.random() < unusual:
                other = {**row, "known_time": row["known_time"] + DAY * int(random.integers(1, 60)), "amount": 7.77}  # type: ignore[operator]
                kind = random.integers(4)
                other["deleted"] = kind == 0
                if kind == 1:
                    other["event_time"] = time + DAY * int(random.integers(-5, 6))
                if kind == 2:
                    other["customer_id"] = f"c{random.integers(customers):04d}"
                rows.append(other)
    return pd.DataFrame(rows)


def write_night(settings: Settings, revisions: pd.DataFrame, start: datetime | None, end: datetime) -> None:
    """The revisions that became known in `(start, end]`, as the object of the night that ends at `end`."""
    store, known = open_store(settings), revisions["known_time"]
    rows = revisions[(known <= end) & (known > start)] if start else revisions[known <= end]
    rows = rows.sort_values(["customer_id", "event_time", "event_id", "known_time"])
    earlier = revisions["event_id"][known <= start] if start else revisions["event_id"][:0]
    corrections = int(rows["event_id"].duplicated().sum() + rows["event_id"].isin(earlier).sum())
    table = pa.Table.from_pandas(rows[store.schema.names], preserve_index=False)
    store.write(end.date(), table.cast(store.schema), corrections)


def updater(settings: Settings, version: Version, model: Model, events_a_shard: int = EVENTS_A_SHARD) -> StateUpdater:
    return StateUpdater(ScoringInputs.open(settings), version, model, events_a_shard)


def version(settings: Settings, name: str, number: int = 1) -> Version:
    return Version(number, ModelSpec(name, {}), f"run-{name}-{number}", START, settings.question.digest)


def recomputed(settings: Settings, cutoff: datetime, grid: list[datetime] | None = None) -> Dataset:
    """Everybody eligible at `cutoff`; with a `grid`, at each of its cutoffs, labelled as of `cutoff`."""
    store, spec = open_store(settings), settings.question.spec(open_store(settings).attributes)
    moments = np.array([microseconds(moment) for moment in grid or [cutoff]])
    request = BuildRequest(moments, spec, microseconds(cutoff) if grid else None)
    return together(DuckDB(settings.state).shards(store.as_of(cutoff), request), spec.horizons)


def difference(updater: StateUpdater, cutoff: datetime, data: Dataset, model: Model) -> float:
    """The largest difference of a churn probability, or of an expected value against 1 plus itself, between carried
    state and whole histories, `data`; infinite where not the same customers are eligible.
    """
    shards = updater.predictions(cutoff)
    customers = [customer for query, _ in shards for customer in query.customers.to_pylist()]
    if customers != data.customer_id.tolist():
        return float("inf")
    predictions, worst = model.predict(data), 0.0
    for name in ("churn_probability", "expected_purchases", "expected_spend"):
        carried = np.concatenate([getattr(predicted, name) for _, predicted in shards])
        whole = getattr(predictions, name)
        scale = 1.0 if name == "churn_probability" else 1.0 + np.abs(whole)
        worst = max(worst, float((np.abs(carried - whole) / scale).max(initial=0.0)))
    return worst
