"""A plain-pandas reading of purchases, independent of the project's own code: who is eligible, who churned, what log
loss a model's published probabilities have. Checks and the end-to-end test compare the job with it.
"""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.cli.app import main

ROOT = Path(__file__).parents[2]


def recur(*arguments: str, config: Path) -> str:
    """What the command prints to its standard output. Raises AssertionError, with its errors, where it fails. The main
    job, which Airflow takes part in, has a process of its own; other commands share this one and what it has imported.
    """
    words = ["--config", str(config), *arguments]
    if arguments[0] == "run":
        program = [sys.executable, "-m", "pipeline.cli.app", *words]
        process = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr[-2000:]
        return process.stdout
    printed, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0, errors.getvalue()[-2000:]
    return printed.getvalue()


def eligible(events: pd.DataFrame, cutoff: pd.Timestamp, active_within: int) -> set[str]:
    """Customers of `events` (`customer_id`, `event_time`) with an event in the days before the cutoff."""
    since = cutoff - pd.Timedelta(days=active_within)
    return set(events.loc[(events["event_time"] >= since) & (events["event_time"] < cutoff), "customer_id"])


def churned(events: pd.DataFrame, cutoff: pd.Timestamp, horizon: int, customers: pd.Series) -> np.ndarray:
    """1.0 for each of `customers` without an event in `[cutoff, cutoff + horizon days)`, else 0.0."""
    until = cutoff + pd.Timedelta(days=horizon)
    came = set(events.loc[(events["event_time"] >= cutoff) & (events["event_time"] < until), "customer_id"])
    return (~customers.isin(came)).to_numpy(float)


def disagreements(config: Path, events: pd.DataFrame, active_within: int, horizon: int, scratch: Path) -> list[str]:
    """Where the last comparison, its test predictions and the published customers differ from the plain reading."""
    wrong = []
    comparison = json.loads(recur("compare", "--format", "json", "--predictions", str(scratch), config=config))
    rows = pd.read_parquet(scratch)
    for cutoff, examples in rows.groupby("cutoff"):
        moment = pd.Timestamp(cutoff)
        moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment
        expected = churned(events, moment, horizon, examples["customer_id"])
        if not np.array_equal(examples["label"].to_numpy(float), expected):
            wrong.append(f"labels at {moment.date()}")
        if set(examples["customer_id"]) != eligible(events, moment, active_within):
            wrong.append(f"test customers at {moment.date()}")
    for model in comparison["models"]:
        of_model = rows[rows["model"] == model["name"]]
        probability, label = of_model["probability"].to_numpy(), of_model["label"].to_numpy(float)
        loss = -np.mean(label * np.log(probability) + (1 - label) * np.log1p(-probability))
        if not abs(loss - model["metrics"]["log_loss"]["value"]) <= 1e-9:
            wrong.append(f"log loss of {model['name']}")
        if any(metric[side] is None for metric in model["metrics"].values() for side in ("value", "low", "high")):
            wrong.append(f"a metric of {model['name']} without an interval")
    verdict = comparison["verdict"]
    low, high, margin = verdict["low"], verdict["high"], verdict["margin"]
    by_rule = (
        "recurrent"
        if low > 0
        else "conventional"
        if high < 0
        else "equivalent"
        if -margin <= low and high <= margin
        else "no detectable difference"
    )
    if verdict["decision"] != by_rule:
        wrong.append(f"the verdict says {verdict['decision']} where its numbers say {by_rule}")
    losses = {model["name"]: model["metrics"]["log_loss"]["value"] for model in comparison["models"]}
    difference = losses[verdict["best_conventional"]] - losses[verdict["best_recurrent"]]
    if not abs(difference - verdict["difference"]) <= 1e-9:
        wrong.append("the verdict's difference")
    published = json.loads(
        recur("query", "select customer_id, score_date from churn_predictions", "--format", "json", config=config)
    )
    last = pd.Timestamp(published[0]["score_date"], tz="UTC")
    if sorted(row["customer_id"] for row in published) != sorted(eligible(events, last, active_within)):
        wrong.append(f"published customers of {last.date()}")
    return wrong
