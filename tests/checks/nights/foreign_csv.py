"""50,000 made-up events of 5,000 customers, as README's worked example brings them, against a plain-pandas reading."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.plain_reading import disagreements, recur

EVENTS, CUSTOMERS, DAYS = 50_000, 5_000, 180
TOML = """
[source]
kind = "csv"
path = "orders.csv"
[source.columns]
customer_id = "customer"
event_time = "ordered_at"
amount = "total"
[question]
active_within = 42
horizons = [14]
"""


def main() -> bool:
    random = np.random.default_rng(14)
    # Customers differ in how often they come, as real ones do.
    shares = random.gamma(0.7, size=CUSTOMERS)
    orders = pd.DataFrame(
        {
            "customer": [f"c{number}" for number in random.choice(CUSTOMERS, EVENTS, p=shares / shares.sum())],
            "ordered_at": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(random.integers(0, DAYS * 86_400, EVENTS), unit="s"),
            "total": random.gamma(2, 10, EVENTS).round(2),
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        orders.to_csv(folder / "orders.csv", index=False)
        (folder / "recur.toml").write_text(TOML)
        recur("run", config=folder / "recur.toml")
        events = orders.rename(columns={"customer": "customer_id"})
        events["event_time"] = events["ordered_at"].dt.tz_localize("UTC")
        wrong = disagreements(folder / "recur.toml", events, 42, 14, folder / "test.parquet")
    print("\n".join(wrong) or f"{EVENTS:,} events of {CUSTOMERS:,} customers: everything agrees")
    print(f"disagreements: {len(wrong)}")
    return not wrong
