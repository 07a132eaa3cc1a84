"""A small world whose customers buy in spells, its event store, and one training on it: what the tests of the training
and scoring steps share.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.objects import manifest_of
from pipeline.event_store.store import open_store
from pipeline.runtime.nights import DAY, Night
from pipeline.steps.compare import compare
from pipeline.steps.promote import promote
from pipeline.steps.snapshot import snapshot
from pipeline.steps.train import train
from pipeline.training.evidence import Evidence, read_evidence
from pipeline.training.snapshot import Snapshot

START, FIRST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 8, 1, tzinfo=UTC)
NEXT, LATER = FIRST + DAY, FIRST + 42 * DAY
PRIMARY, LONGER, ACTIVE = 14, 28, 28
NAMES = ("recency", "logistic_regression")
TOML = f"""
[source]
kind = "csv"
path = "events.csv"
default_event_type = "purchase"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
event_id = "id"
amount = "eur"
shop = "shop"
[question]
active_within = {ACTIVE}
horizons = [{PRIMARY}, {LONGER}]
calendar = false
categories = true
[models]
names = {list(NAMES)}
[serving]
reasons_share = 0.1
"""


def made_up_events(customers: int = 150, seed: int = 5) -> pd.DataFrame:
    """`event_id, customer_id, event_time, amount, shop`: each customer buys about every four days in spells of a month
    or so, with silences between, so that a longer silence means a higher risk.
    """
    random = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        day, until = float(random.uniform(0, 40)), (LATER - START) / DAY
        while day < until:
            spell_end = day + random.exponential(40)
            while day < min(spell_end, until):
                moment = START + timedelta(seconds=int(day * 86_400))
                rows.append(
                    (
                        f"cust-{customer:03d}",
                        moment,
                        round(float(random.lognormal(3, 0.5)), 2),
                        random.choice(["a", "b"]),
                    )
                )
                day += random.exponential(4)
            day += random.exponential(30)
    events = pd.DataFrame(rows, columns=["customer_id", "event_time", "amount", "shop"])
    events.insert(0, "event_id", [f"e{number:06d}" for number in range(len(events))])
    return events


def make_world(folder: Path, events: pd.DataFrame, cutoffs: Iterable[datetime] = (FIRST, NEXT, LATER)) -> Settings:
    """The settings of a CSV of `events`, all state under `folder`, the nights that end at `cutoffs` in its store."""
    folder.mkdir(parents=True, exist_ok=True)
    heading = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur"}
    events.rename(columns=heading).to_csv(folder / "events.csv", index=False)
    (folder / "recur.toml").write_text(TOML, "utf-8")
    settings = load_settings(folder / "recur.toml")
    start = None
    for cutoff in cutoffs:
        write_night(settings, events, start, cutoff)
        start = cutoff
    return settings


def write_night(settings: Settings, events: pd.DataFrame, start: datetime | None, end: datetime) -> None:
    """The events of `[start, end)` as the object of the night that ends at `end`."""
    times = events["event_time"]
    rows = events[(times < end) & (times >= (start or START))].sort_values(["customer_id", "event_time", "event_id"])
    known = rows["event_time"].dt.ceil("D") if start is None else pd.Series(end, index=rows.index)
    extra = {"known_time": known, "event_type": "purchase", "quantity": np.nan, "deleted": False}
    store = open_store(settings)
    table = pa.Table.from_pandas(rows.assign(**extra)[store.schema.names], preserve_index=False)
    store.write(end.date(), table.cast(store.schema), 0)


def snapshot_of(settings: Settings, cutoff: datetime = FIRST) -> Snapshot:
    return Snapshot.read(settings.state.snapshot(cutoff), settings.question)


def evidence_of(settings: Settings, cutoff: datetime = FIRST) -> Evidence:
    return read_evidence(settings.state.snapshot(cutoff), snapshot_of(settings, cutoff), settings.models.names)


def run_training(settings: Settings, cutoff: datetime) -> None:
    snapshot(settings, cutoff)
    for name in settings.models.names:
        train(settings, cutoff, name)
    compare(settings, cutoff)
    promote(settings, cutoff)


@contextmanager
def loaded_up_to(settings: Settings, cutoff: datetime) -> Iterator[None]:
    """Later nights are not there, as when the night of `cutoff` was published: else its scores would be backfilled."""
    whole = manifest_of(settings.events)
    upto = {name: entry for name, entry in whole.entries.items() if name <= f"{cutoff.date()}.parquet"}
    later = [settings.events / name for name in whole.entries.keys() - upto.keys()]
    for file in later:
        file.rename(file.with_suffix(".later"))
    replace(whole, entries=upto).write()
    yield
    for file in later:
        file.with_suffix(".later").rename(file)
    whole.write()


def night(cutoff: datetime) -> Night:
    return Night(cutoff - DAY, cutoff)


def eligible_by_hand(events: pd.DataFrame, cutoff: datetime) -> list[str]:
    """The customers with an event in `[cutoff - active_within, cutoff)`, ascending: a pandas reading."""
    times = events["event_time"]
    return sorted(events.loc[(times < cutoff) & (times >= cutoff - ACTIVE * DAY), "customer_id"].unique())


def churned_by_hand(events: pd.DataFrame, customer: str, cutoff: datetime) -> bool:
    times = events.loc[events["customer_id"] == customer, "event_time"]
    return not ((times >= cutoff) & (times < cutoff + PRIMARY * DAY)).any()
