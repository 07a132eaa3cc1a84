"""A small seeded world, worked through by the command `recur` alone, and a digest of everything that it leaves behind.

The world knows nothing of how the code is laid out, so the same digests can be taken of two checkouts and compared:
`python -m tests.support.worlds.golden FOLDER > digests.json`. Figures of models may differ from machine to machine in
their last bits; those of `PORTABLE` may not.
"""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

START, FIRST, NIGHTS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 8, 1, tzinfo=UTC), 16
DAY = timedelta(days=1)
PORTABLE = ("events", "examples", "aggregates", "steps", "histories", "quarantine")
"""Digests that are the same on every machine: arithmetic on integers and single IEEE operations."""
NOT_COMPARED = {"run_id", "scored_at", "compared_at", "reviewed_at", "decided_at", "question_digest", "started_at"}
NOT_COMPARED |= {"seconds", "peak_memory_bytes", "fit_seconds", "predict_customers_per_second", "message", "verdict"}

PLAIN = """
[source]
kind = "csv"
path = "events.csv"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
event_id = "id"
amount = "eur"
items = "items"
shop = "shop"
[question]
calendar = false
categories = true
active_within = 28
horizons = [14, 28]
[run]
first_night = 2020-08-01
[models]
max_epochs = 2
{models}
[serving]
reasons_share = 0.1
"""
TYPED = """
[source]
kind = "csv"
path = "events.csv"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
known_time = "known"
event_id = "id"
event_type = "type"
amount = "eur"
items = "items"
shop = "shop"
deleted = "gone"
[question]
active_within = 42
activity = ["visit", "purchase"]
comes_back_with = ["purchase"]
ends_with = ["cancel"]
event_types = ["return"]
horizons = [7, 21]
primary_horizon = 21
gap = 2
next_event = true
calendar = true
categories = true
exclude_customers = ["cust-003"]
exclude_types = ["test"]
exclude_values = {{ shop = ["z"] }}
[run]
first_night = 2020-08-01
[models]
max_epochs = 2
{models}
[evidence]
windows = 2
[serving]
reasons_share = 0.1
"""


def plain_events(customers: int = 160, seed: int = 5) -> pd.DataFrame:
    """Spells of purchases with silences between, every event known on its day."""
    random = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for customer in range(customers):
        day, until = float(random.uniform(0, 40)), (FIRST - START) / DAY + NIGHTS + 2
        while day < until:
            spell_end = day + random.exponential(40)
            while day < min(spell_end, until):
                moment = START + timedelta(seconds=int(day * 86_400))
                amount, shop = round(float(random.lognormal(3, 0.5)), 2), random.choice(["a", "b", "c", ""])
                rows.append((f"cust-{customer:03d}", moment, amount, int(random.integers(0, 4)), shop))
                day += random.exponential(4)
            day += random.exponential(30)
    events = pd.DataFrame(rows, columns=["who", "when", "eur", "items", "shop"])
    events.insert(0, "id", [f"e{number:06d}" for number in range(len(events))])
    return events


def typed_events(customers: int = 140, seed: int = 9) -> pd.DataFrame:
    """Events of several types, a twelfth of them late, corrected, moved to another customer or deleted later."""
    random = np.random.default_rng(seed)
    events = plain_events(customers, seed).astype({"eur": object})
    share = random.random(len(events))
    events["type"] = np.select(
        [share < 0.55, share < 0.9, share < 0.95, share < 0.97, share < 0.98],
        ["purchase", "visit", "return", "cancel", "test"],
        "mail",
    )
    events.loc[events["type"] == "visit", "eur"] = ""
    events.loc[random.random(len(events)) < 0.01, "shop"] = "z"
    late = np.where(random.random(len(events)) < 0.05, random.integers(1, 30, len(events)), 0)
    events["known"] = [when.ceil("D") + DAY * int(days) for when, days in zip(events["when"], late, strict=True)]
    events["gone"] = "no"
    again = events[random.random(len(events)) < 0.05].copy()
    again["known"] = [
        known + DAY * int(days) for known, days in zip(again["known"], random.integers(1, 40, len(again)), strict=True)
    ]
    kind = random.integers(0, 4, len(again))
    again.loc[kind == 0, "gone"] = "yes"
    again.loc[kind == 1, "eur"] = "7.77"
    moved = [f"cust-{number:03d}" for number in random.integers(0, customers, len(again))]
    again["who"] = np.where(kind == 2, moved, again["who"])
    again["when"] = [
        when - DAY * int(days) if which == 3 else when
        for when, days, which in zip(again["when"], random.integers(0, 5, len(again)), kind, strict=True)
    ]
    return pd.concat([events, again], ignore_index=True)


WORLDS = {
    "plain": (PLAIN, plain_events),
    "typed": (TYPED, typed_events),
}
FEW = 'names = ["recency", "logistic_regression"]'
MANY = ""


def work_through(folder: Path, recur: list[str], world: str, models: str = MANY) -> dict[str, str]:
    """Makes the world in `folder`, ingests, trains, scores, reviews, and gives the digests."""
    folder.mkdir(parents=True, exist_ok=True)
    toml, make = WORLDS[world]
    make().to_csv(folder / "events.csv", index=False)
    (folder / "recur.toml").write_text(toml.format(models=models), "utf-8")

    def run(*arguments: str) -> str:
        command = [*recur, "--config", str(folder / "recur.toml"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]} {done.stdout[-2000:]}")
        return done.stdout

    run("ingest", "--until", str(FIRST.date()))
    run("train")
    run("score")
    for number in range(1, NIGHTS):
        night = str((FIRST + number * DAY).date())
        run("ingest", "--until", night)
        if number in (1, 2, 15):
            run("score")
    run("review")
    return digests(folder, run)


def digests(folder: Path, run: Any) -> dict[str, str]:
    """By what it is: the SHA-256 of what every file of the state holds, and of what every view says."""
    var, found = folder / "var", dict[str, str]()
    for file in sorted((var / "events").glob("*.parquet")):
        found[f"events {file.stem}"] = of_table(pq.read_table(file))
    for name, table in snapshot_tables(next((var / "snapshots").iterdir())).items():
        found[name] = of_table(table)
    for kind in ("predictions", "altered"):
        for file in sorted((var / "snapshots").glob(f"*/{kind}/*.parquet")):
            found[f"{kind} {file.stem}"] = of_table(pq.read_table(file))
    for file in sorted((var / "snapshots").glob("*/results/*.json")):
        content = json.loads(file.read_text("utf-8"))
        kept = {key: content[key] for key in ("parameters", "calibration", "curves", "valid_log_loss", "test_digest")}
        found[f"results {file.stem}"] = of_text(json.dumps(kept, sort_keys=True))
    for kind in ("scored", "not_scored", "quarantine"):
        for file in sorted((var / kind).glob("*.parquet")):
            found[f"{kind} {file.stem}"] = of_table(pq.read_table(file))
    for file in sorted((var / "carried").glob("*/????-??-??/*.arrow")):
        with pa.memory_map(str(file)) as source:
            found[f"carried {file.parent.name} {file.name}"] = of_table(pa.ipc.open_file(source).read_all())
    for file in sorted((var / "published").glob("*/*.parquet")):
        found[f"published {file.parent.name}"] = of_table(pq.read_table(file, partitioning=None))
    for view in ("churn_predictions", "prediction_history", "survival_curve", "risk_bands", "model_comparison"):
        found[f"view {view}"] = of_view(run, view)
    for view in ("what_moves_risk", "risk_by_silence", "outcome_review", "segment_review", "monitoring"):
        found[f"view {view}"] = of_view(run, view)
    for view in ("review_decisions", "pipeline_runs", "quarantine_summary"):
        found[f"view {view}"] = of_view(run, view)
    comparison = json.loads(run("compare", "--format", "json"))
    found["comparison"] = of_text(json.dumps(without(comparison), sort_keys=True))
    return found


def snapshot_tables(folder: Path) -> dict[str, pa.Table]:
    """What a snapshot holds, whichever way it is cut into files: examples and aggregates by (cutoff, customer), and the
    steps that each example sees, one example after the other.
    """
    shards = sorted((folder / "shards").glob("?????")) or [folder]
    examples, aggregates, seen = [], [], []
    for shard in shards:
        table, rows = pq.read_table(shard / "examples.parquet"), pq.read_table(shard / "aggregates.parquet")
        meaning = json.loads((shard / "dataset.json").read_text("utf-8"))
        steps = pa.concat_tables(pq.read_table(file) for file in sorted((shard / "steps").glob("*.parquet")))
        for name, values in meaning["categorical"].items():
            codes = pa.array(np.where(steps[name].to_numpy() < 0, len(values), steps[name].to_numpy()))
            steps = steps.set_column(
                steps.column_names.index(name), name, pa.array([*values, None], pa.string()).take(codes)
            )
        lengths = pq.read_table(shard / "histories.parquet")["steps"].to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        length, first = table["length"].to_numpy(), offsets[table["history"].to_numpy()]
        place = np.repeat(first - (np.cumsum(length) - length), length) + np.arange(length.sum())
        owner = pa.array(np.repeat(np.arange(len(table)), length))
        keys = {name: table[name].take(owner) for name in ("cutoff", "customer_id")}
        seen.append(
            steps.take(pa.array(place)).append_column("key", keys["customer_id"]).append_column("at", keys["cutoff"])
        )
        examples.append(table.drop_columns(["history"]))
        aggregates.append(
            rows.append_column("customer_id", table["customer_id"]).append_column("cutoff", table["cutoff"])
        )
    order = [("cutoff", "ascending"), ("customer_id", "ascending")]
    steps, everybody = pa.concat_tables(seen), pa.concat_tables(examples).sort_by(order)
    numbered = steps.append_column("place", pa.array(np.arange(len(steps))))
    by_example = [("at", "ascending"), ("key", "ascending"), ("place", "ascending")]
    return {
        "examples": everybody,
        "aggregates": pa.concat_tables(aggregates).sort_by(order),
        "steps": numbered.sort_by(by_example).drop_columns(["place"]),
    }


def of_table(table: pa.Table) -> str:
    """Of its columns by name; those that bear times of this run, or ids of it, are left out."""
    digest = hashlib.sha256()
    for name in sorted(set(table.column_names) - NOT_COMPARED):
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        digest.update(name.encode() + b"\0")
        if pa.types.is_floating(column.type):
            digest.update(np.asarray(column.fill_null(float("nan"))).tobytes())
        else:
            digest.update(json.dumps(column.to_pylist(), default=str).encode())
    return digest.hexdigest()[:16]


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_view(run: Any, view: str) -> str:
    rows = json.loads(run("query", f"select * from {view}", "--format", "json"))
    return of_text("\n".join(sorted(json.dumps(without(row), sort_keys=True) for row in rows)))


def without(content: Any) -> Any:
    """Less what bears times, or ids, of this run."""
    if isinstance(content, dict):
        return {key: without(value) for key, value in content.items() if key not in NOT_COMPARED}
    return [without(each) for each in content] if isinstance(content, list) else content


def main(arguments: list[str]) -> None:
    root = Path(arguments[0])
    recur = [sys.executable, "-m", arguments[1] if len(arguments) > 1 else "pipeline.cli.app"]
    found = {world: work_through(root / world, recur, world) for world in arguments[2:] or WORLDS}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
