"""Small random worlds of events with revisions, and the plain-pandas reading of them that tests hold against ours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import build_shard
from features.question import Question
from features.time import microseconds
from pipeline.event_store.store import TIME, event_schema

ATTRIBUTES = {"items": "numeric", "store": "categorical"}
FREQUENT = {"store": ["s0", "s2", "s3"]}
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=200)
SCHEMA = event_schema(ATTRIBUTES).append(pa.field("superseded_time", TIME))


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
                    "event_time": min(moved, later - timedelta(seconds=1)),  # nothing is known before it happened
                    "amount": 1.25,
                    "deleted": bool(random.random() < 0.5),
                }
            )
    return pd.DataFrame(rows)


def as_of(rows: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The revisions known at `moment`, each with the known time of the one that replaced it."""
    known = rows[rows["known_time"] <= pd.Timestamp(moment)].sort_values(["event_id", "known_time"])
    return known.assign(superseded_time=known.groupby("event_id")["known_time"].shift(-1)).reset_index(drop=True)


def table(rows: pd.DataFrame, moment: datetime = END) -> pa.Table:
    """`as_of` in the order and with the columns in which an engine gives a shard."""
    known = as_of(rows, moment).sort_values(list(ORDER))
    return pa.Table.from_pandas(known[SCHEMA.names], SCHEMA, preserve_index=False)


def build(
    rows: pd.DataFrame, cutoffs: Sequence[datetime], question: Question, labelled: bool = True, moment: datetime = END
) -> Dataset:
    """The dataset of one shard of these revisions, as known at `moment`."""
    shard = build_shard(table(rows, moment), request(cutoffs, question, moment if labelled else None))
    return together([shard], question.horizons)


def request(cutoffs: Sequence[datetime], question: Question, until: datetime | None = END) -> BuildRequest:
    labelled_until = None if until is None else microseconds(until)
    return BuildRequest(
        np.array([microseconds(cutoff) for cutoff in cutoffs]), question.spec(ATTRIBUTES, FREQUENT), labelled_until
    )


def seen_at(rows: pd.DataFrame, cutoff: datetime) -> pd.DataFrame:
    """The plain reading of "visible": the last revision known by the cutoff, if it happened before it; in order."""
    known = rows[rows["known_time"] <= pd.Timestamp(cutoff)].sort_values(["event_id", "known_time"])
    last = known.groupby("event_id").tail(1)
    last = last[~last["deleted"] & (last["event_time"] < pd.Timestamp(cutoff))]
    return last.sort_values(["customer_id", "event_time", "event_id"])
