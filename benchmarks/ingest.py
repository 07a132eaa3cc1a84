"""One night of many events: extracted, validated and loaded from a Parquet or CSV file, beside pandas.

`--events N` sets the size of the night, `--pandas N` the one at which pandas runs (it holds all columns at
once, which the large one does not allow), `--kind csv` reads CSV. Ours is `extract`, `validate` and `load` as the tasks
call them, the predictions database included; pandas is the same rules as one would first write them, from the same
file into the same Parquet, and its events must equal ours. Each run is a process of its own, and importing is not
counted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import benchmarks.support.results

DAY, EVENTS_A_CUSTOMER, THREADS = date(2024, 3, 1), 20, 2
LIMIT = 1e9
TOML = """
[source]
kind = "{kind}"
path = "events.{kind}"
[source.columns]
event_id = "id"
customer_id = "who"
event_time = "at"
event_type = "type"
amount = "eur"
quantity = "pieces"
[run]
first_night = {first}
[validation]
max_volume_share = 1000000
max_quarantined_share = 0.1
"""
BAD = "number % 100"
"""One row in a hundred breaks a rule: of these, by turns, one of five."""


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="ingest")
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--pandas", type=int, default=2_000_000)
    options.add_argument("--kind", choices=("parquet", "csv"), default="parquet")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.one:
        print(json.dumps(_measured(ONE[chosen.one[0]], Path(chosen.one[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        large, small = (
            _source(Path(scratch) / str(events), chosen.kind, events) for events in (chosen.events, chosen.pandas)
        )
        measured: dict[str, list[dict[str, float]]] = {"ours": [], "ours_small": [], "pandas": []}
        for _ in range(chosen.runs):
            for name, folder in (("ours", large), ("ours_small", small), ("pandas", small)):
                measured[name].append(_one(name.removesuffix("_small"), folder))
                figures = ", ".join(f"{key} {value:,.1f}" for key, value in measured[name][-1].items())
                print(f"{name}: {figures}", flush=True)
            _require_equal(small)
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in measured.items()}
    pairs = zip(measured["pandas"], measured["ours_small"], strict=True)
    steps = ("extract", "validate", "load")
    benchmarks.support.results.write(
        "ingest" if chosen.kind == "parquet" else f"ingest-{chosen.kind}",
        {
            "events": chosen.events,
            "pandas_events": chosen.pandas,
            "cores": THREADS,
            "events_a_customer": EVENTS_A_CUSTOMER,
        },
        {
            "events_per_second": chosen.events / seconds["ours"],
            "seconds": seconds["ours"],
            **{f"{step}_seconds": statistics.median(run[step] for run in measured["ours"]) for step in steps},
            "peak_memory_bytes": max(run["peak_memory_bytes"] for run in measured["ours"]),
            "events_per_cpu_second": chosen.events / statistics.median(run["cpu_seconds"] for run in measured["ours"]),
        },
        {
            "pandas": {
                "events_per_second": chosen.pandas / seconds["pandas"],
                "peak_memory_bytes": max(run["peak_memory_bytes"] for run in measured["pandas"]),
            }
        },
        {"pandas": statistics.median(pandas["seconds"] / ours["seconds"] for pandas, ours in pairs)},
    )


def _source(folder: Path, kind: str, events: int) -> Path:
    """A folder with a file of random purchases of one day, one in a hundred of them bad, and of one more day, which
    closes it; and the configuration.
    """
    import duckdb

    folder.mkdir()
    customers = max(events // EVENTS_A_CUSTOMER, 1)
    with duckdb.connect(config={"threads": THREADS, "memory_limit": "3GB", "temp_directory": str(folder)}) as engine:
        engine.execute("select setseed(0.5)")
        at = f"timestamp '{DAY} 00:00:00' + to_microseconds((number * 86400000000 // {events})::bigint)"
        at = f"strftime({at}, '%Y-%m-%d %H:%M:%S')"
        bad = f"{BAD} = 99 and number // 100 % 5 ="
        who = f"'c' || lpad(floor(random() * {customers})::bigint::varchar, 8, '0')"
        rows = f"""
            select 'e' || lpad(number::varchar, 9, '0') as id,
                case when {bad} 0 then null else {who} end as who,
                case when {bad} 1 then 'never' else {at} end as at,
                case when {bad} 2 then null else ['purchase', 'visit', 'return'][1 + number % 3] end as type,
                case when {bad} 3 then 'much' else round(random() * 100, 2)::varchar end as eur,
                case when {bad} 4 then 1e12 else 1 + floor(random() * 5) end as pieces
            from range({events}) _(number)
            union all
            select 'last', 'c00000000', '{DAY.replace(day=DAY.day + 1)} 12:00:00', 'purchase', '1', 1
        """
        form = "parquet" if kind == "parquet" else "csv, header"
        engine.execute(f"copy ({rows}) to '{folder}/events.{kind}' (format {form})")
    (folder / "recur.toml").write_text(TOML.format(kind=kind, first=DAY))
    return folder


def _one(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks", "ingest", "--one", name, str(folder)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def _measured(work: Callable[[Path], dict[str, float]], folder: Path) -> dict[str, float]:
    peak, done = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(peak, done))
    watch.start()
    clock = os.times()
    seconds = work(folder)
    after = os.times()
    done.set()
    watch.join()
    cpu = sum(after[:4]) - sum(clock[:4])
    return {"seconds": sum(seconds.values()), "cpu_seconds": cpu, "peak_memory_bytes": peak[0], **seconds}


def _watch(peak: list[int], done: threading.Event) -> None:
    """The most memory that this process and its children held together, measured ten times a second."""
    import psutil

    own = psutil.Process()
    while not done.wait(0.1):
        memory = 0
        for process in (own, *own.children(recursive=True)):
            try:
                memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak[0] = max(peak[0], memory)


def _ours(folder: Path) -> dict[str, float]:
    import great_expectations
    import great_expectations.expectations.core.expect_column_max_to_be_between
    import pandas  # noqa: F401

    assert great_expectations
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    from pipeline.config.settings import load_settings
    from pipeline.runtime.nights import DAY as A_DAY
    from pipeline.runtime.nights import Night, midnight
    from pipeline.serving.database import open_predictions
    from pipeline.steps.extract import extract
    from pipeline.steps.load import load
    from pipeline.steps.validate import validate

    shutil.rmtree(folder / "var", ignore_errors=True)
    settings = load_settings(folder / "recur.toml")
    open_predictions(settings.predictions, settings.root).engine()
    night = Night(midnight(DAY), midnight(DAY) + A_DAY)
    seconds = {}
    for step in (extract, validate, load):
        began = time.monotonic()
        step(settings, night)
        seconds[step.__name__] = time.monotonic() - began
    return seconds


def _pandas(folder: Path) -> dict[str, float]:
    import pandas as pd

    began = time.monotonic()
    start, end = pd.Timestamp(DAY, tz="UTC"), pd.Timestamp(DAY, tz="UTC") + pd.Timedelta(days=1)
    file = folder / "events.parquet"
    rows = pd.read_parquet(file) if file.exists() else pd.read_csv(folder / "events.csv", dtype=str)
    rows.columns = ["event_id", "customer_id", "event_time", "event_type", "amount", "quantity"]

    # A row without a readable time stays with the night of the row before it.
    time_of_row = pd.to_datetime(rows["event_time"], errors="coerce", utc=True)
    of_night = time_of_row.ffill().bfill()
    rows = rows[(of_night >= start) & (of_night < end)].copy()

    for name in ("event_id", "customer_id", "event_type"):
        rows[name] = rows[name].str.strip().replace("", None)
    raw_time, raw_amount, raw_quantity = rows["event_time"], rows["amount"], rows["quantity"]
    rows["event_time"] = pd.to_datetime(rows["event_time"], errors="coerce", utc=True)
    rows["known_time"] = end
    rows["amount"] = pd.to_numeric(rows["amount"], errors="coerce")
    rows["quantity"] = pd.to_numeric(rows["quantity"], errors="coerce")

    rules = [
        ("customer_id_missing", rows["customer_id"].isna()),
        ("customer_id_placeholder", rows["customer_id"].str.lower().isin(["null", "none", "nan", "n/a", "undefined"])),
        ("event_time_missing", raw_time.isna() | (raw_time.str.strip() == "")),
        ("event_time_unreadable", rows["event_time"].isna()),
        ("event_time_before_1970", rows["event_time"] < pd.Timestamp("1970-01-01", tz="UTC")),
        ("event_time_of_empty_clock", rows["event_time"] < pd.Timestamp("1970-02-01", tz="UTC")),
        ("event_time_in_future", rows["event_time"] >= end),
        ("event_type_missing", rows["event_type"].isna()),
        ("event_id_missing", rows["event_id"].isna()),
        *(
            (f"{name}_control_character", rows[name].str.contains(r"[\t\n\r\0]", na=False))
            for name in ("customer_id", "event_id", "event_type")
        ),
        ("amount_unreadable", rows["amount"].isna() & raw_amount.notna() & (raw_amount.astype(str).str.strip() != "")),
        ("amount_not_finite", rows["amount"].isin([float("inf"), float("-inf")])),
        ("amount_absurd", rows["amount"].abs() > LIMIT),
        (
            "quantity_unreadable",
            rows["quantity"].isna() & raw_quantity.notna() & (raw_quantity.astype(str).str.strip() != ""),
        ),
        ("quantity_not_finite", rows["quantity"].isin([float("inf"), float("-inf")])),
        ("quantity_absurd", rows["quantity"].abs() > LIMIT),
    ]
    rows["reason"] = None
    for code, broken in rules:
        rows.loc[rows["reason"].isna() & broken.fillna(False), "reason"] = code

    good = rows[rows["reason"].isna()]
    content = ["customer_id", "event_time", "event_type", "amount", "quantity"]
    differing = good.drop_duplicates(["event_id", *content]).groupby("event_id").size()
    conflicts = good["event_id"].isin(differing[differing > 1].index)
    rows.loc[good.index[conflicts], "reason"] = "event_id_conflict"

    aside = rows[rows["reason"].notna()]
    aside.to_json(folder / "quarantine-pandas.jsonl", orient="records", lines=True, date_format="iso")
    events = rows[rows["reason"].isna()].drop_duplicates("event_id").assign(deleted=False)
    assert len(aside) / len(rows) < 0.1
    events = events.sort_values(["customer_id", "event_time", "event_id", "known_time"]).drop(columns="reason")
    events.to_parquet(folder / "events-pandas.parquet", index=False, compression="zstd")
    return {"pandas": time.monotonic() - began}


def _require_equal(folder: Path) -> None:
    """Ours and pandas must have stored the same events and set the same rows aside for the same reasons."""
    import pandas as pd

    name = f"{DAY.replace(day=DAY.day + 1)}.parquet"
    ours, theirs = pd.read_parquet(folder / "var" / "events" / name), pd.read_parquet(folder / "events-pandas.parquet")
    ours = ours[theirs.columns]
    for column in theirs.columns:
        same = ours[column].reset_index(drop=True).eq(theirs[column].reset_index(drop=True))
        if len(ours) != len(theirs) or not same.all():
            raise AssertionError(f"ours and pandas differ in {column}: {len(ours)} and {len(theirs)} events")
    aside = pd.read_parquet(folder / "var" / "quarantine" / name)["reason"].value_counts().to_dict()
    theirs_aside = pd.read_json(folder / "quarantine-pandas.jsonl", lines=True)["reason"].value_counts().to_dict()
    if aside != theirs_aside:
        raise AssertionError(f"ours set aside {aside}, pandas {theirs_aside}")


ONE: dict[str, Callable[[Path], dict[str, float]]] = {"ours": _ours, "pandas": _pandas}
