"""Small random worlds of events with revisions, and the plain-pandas reading of them that tests hold against ours."""

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd

ATTRIBUTES = {"items": "numeric", "store": "categorical"}
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=200)
SCHEMA = {
    "event_id": "string",
    "customer_id": "string",
    "event_time": "timestamp('UTC', 6)",
    "known_time": "timestamp('UTC', 6)",
    "event_type": "string",
    "amount": "float64",
    "quantity": "float64",
    "deleted": "boolean",
    "items": "float64",
    "store": "string",
    "superseded_time": "timestamp('UTC', 6)",
}


def revisions(seed: int, customers: int = 12, events: int = 150, unusual: float = 0.2) -> pd.DataFrame:
    """Events over 200 days; a share of them late by days, corrected later, or deleted later."""
    random, kinds = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    rows = []
    for number in range(events):
        moment = START + timedelta(seconds=int(random.integers(0, 200 * 86_400)))
        known = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
        row = {
            "event_id": f"e{number:04d}",
            "customer_id": f"c{random.integers(customers):02d}",
            "event_time": moment,
            "known_time": known,
            "event_type": str(kinds.choice(["purchase", "view", "cancel"], p=[0.6, 0.3, 0.1])),
            "amount": None if random.random() < 0.1 else round(float(random.gamma(2, 20)), 2),
            "quantity": float(random.integers(1, 9)),
            "deleted": False,
            "items": None if random.random() < 0.1 else float(random.integers(0, 4)),
            "store": None if random.random() < 0.1 else f"s{random.integers(4)}",
        }
        if random.random() < unusual:
            row["known_time"] += timedelta(days=int(random.integers(1, 30)))
        rows.append(row)
        if random.random() < unusual:
            later = row["known_time"] + timedelta(days=int(random.integers(1, 30)))
            moved = moment + timedelta(days=int(random.integers(-3, 4))) if random.random() < 0.5 else moment
            rows.append(
                {
                    **row,
                    "known_time": later,
                    "event_time": moved,
                    "amount": 1.25,
                    "deleted": bool(random.random() < 0.5),
                }
            )
    return pd.DataFrame(rows)


def as_of(rows: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The revisions known at `moment`, each with the known time of the one that replaced it."""
    known = rows[rows["known_time"] <= pd.Timestamp(moment)].sort_values(["event_id", "known_time"])
    return known.assign(superseded_time=known.groupby("event_id")["known_time"].shift(-1)).reset_index(drop=True)


def table(rows: pd.DataFrame, moment: datetime = END) -> ibis.Table:
    """`as_of` as the expressions read it, on a DuckDB of its own."""
    return ibis.memtable(as_of(rows, moment).astype(object).where(lambda frame: frame.notna(), None), schema=SCHEMA)


def seen_at(rows: pd.DataFrame, cutoff: datetime) -> pd.DataFrame:
    """The plain reading of "visible": the last revision known by the cutoff, if it happened before it; in order."""
    known = rows[rows["known_time"] <= pd.Timestamp(cutoff)].sort_values(["event_id", "known_time"])
    last = known.groupby("event_id").tail(1)
    last = last[~last["deleted"] & (last["event_time"] < pd.Timestamp(cutoff))]
    return last.sort_values(["customer_id", "event_time", "event_id"])
