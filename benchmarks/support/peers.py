"""The same work as its users write it: features in pandas and in Featuretools, sequences in pytorch-lifestream (the two
run by an interpreter that has them).

It imports nothing of this project, so that it runs in a peer's own environment.
"""

import json
import sys
import time
from importlib import import_module

import pandas as pd

WINDOWS, ACTIVE_WITHIN, HORIZON = (7, 14, 28, 56, 91), 91, 28


def pandas_features(file: str, cutoffs: list[str]) -> int:
    """All features and labels by `groupby`, a cutoff at a time; returns the number of examples."""
    events = pd.read_parquet(file).sort_values(["customer_id", "event_time", "event_id"])
    events["gap"] = events.groupby("customer_id")["event_time"].diff() / pd.Timedelta(days=1)
    tables = []
    for cutoff in map(pd.Timestamp, cutoffs):
        past = events[(events["event_time"] < cutoff) & (events["known_time"] <= cutoff)]
        groups = past.groupby("customer_id")
        last = groups.tail(1).set_index("customer_id")
        rows = pd.DataFrame(
            {
                "days_since_last_event": (cutoff - last["event_time"]) / pd.Timedelta(days=1),
                "days_since_first_event": (cutoff - groups["event_time"].min()) / pd.Timedelta(days=1),
                "events_total": groups.size(),
                "active_days_total": past["event_time"].dt.floor("D").groupby(past["customer_id"]).nunique(),
                "amount_total": groups["amount"].sum(),
                "amount_mean": groups["amount"].mean(),
                "amount_max": groups["amount"].max(),
                "amount_last": last["amount"],
                "gap_mean": groups["gap"].mean(),
                "gap_std": groups["gap"].std(ddof=0),
                "gap_max": groups["gap"].max(),
                "gap_last": last["gap"],
            }
        )
        rows["overdue"] = rows["days_since_last_event"] / rows["gap_mean"]
        for days in WINDOWS:
            recent = past[past["event_time"] >= cutoff - pd.Timedelta(days=days)].groupby("customer_id")
            rows[f"events_{days}"] = recent.size()
            rows[f"amount_{days}"] = recent["amount"].sum()
            if days in (28, 91):
                rows[f"quantity_{days}"] = recent["quantity"].sum()
        rows["events_trend"] = 2 * rows["events_28"].fillna(0) - rows["events_56"].fillna(0)
        end = cutoff + pd.Timedelta(days=HORIZON)
        future = events[(events["event_time"] >= cutoff) & (events["event_time"] < end)].groupby("customer_id")
        rows["purchases"], rows["spend"] = future["amount"].count(), future["amount"].sum()
        rows = rows[rows["days_since_last_event"] <= ACTIVE_WITHIN].fillna({"purchases": 0, "spend": 0})
        tables.append(rows.assign(churn=(rows["purchases"] == 0).astype(float), cutoff=cutoff))
    return len(pd.concat(tables))


def featuretools_features(file: str, cutoffs: list[str]) -> int:
    """Counts, sums, means, extremes and recency over the whole past and five windows: fewer features than ours."""
    import featuretools

    events = pd.read_parquet(file)
    for name in ("event_time", "known_time"):
        events[name] = events[name].dt.tz_localize(None)
    world = featuretools.EntitySet("world")
    world.add_dataframe(events, "events", index="event_id", time_index="event_time")
    world.normalize_dataframe("events", "customers", "customer_id", make_time_index=True)
    first = events.groupby("customer_id")["event_time"].min()
    asked = pd.concat(
        pd.DataFrame({"customer_id": first[first < cutoff].index, "time": cutoff})
        for cutoff in (pd.Timestamp(moment).tz_localize(None) for moment in cutoffs)
    )
    for days in (None, *WINDOWS):
        featuretools.dfs(
            entityset=world,
            target_dataframe_name="customers",
            cutoff_time=asked,
            training_window=None if days is None else f"{days} days",
            agg_primitives=["count", "sum", "mean", "max", "last", "time_since_last"],
            trans_primitives=[],
            include_cutoff_time=False,
        )
    return len(asked)


def lifestream_sequences(file: str, cutoffs: list[str]) -> int:
    """A record of arrays a customer, categories encoded, as pytorch-lifestream's networks read them."""
    from ptls.preprocessing import PandasDataPreprocessor

    preprocessor = PandasDataPreprocessor(
        col_id="customer_id",
        col_event_time="event_time",
        event_time_transformation="dt_to_timestamp",
        cols_category=["event_type"],
        cols_numerical=["amount", "quantity"],
        return_records=True,
    )
    events = pd.read_parquet(file, columns=["customer_id", "event_time", "event_type", "amount", "quantity"])
    events["event_time"] = events["event_time"].dt.tz_localize(None)
    return len(preprocessor.fit_transform(events))


IMPORTS = {"featuretools": "featuretools", "lifestream": "ptls.preprocessing"}
WORK = {"pandas": pandas_features, "featuretools": featuretools_features, "lifestream": lifestream_sequences}

if __name__ == "__main__":
    import_module(IMPORTS[sys.argv[1]])
    began = time.monotonic()
    made = WORK[sys.argv[1]](sys.argv[2], json.loads(sys.argv[3]))
    print(json.dumps({"seconds": time.monotonic() - began, "examples": made, "peak_memory_bytes": 0}))
