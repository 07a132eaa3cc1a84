"""What the trained models said of the test examples, read from their files: the evidence that is compared, reported and
put before the gate.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.evidence.result import Result
from pipeline import paths
from pipeline.errors import RecurError
from pipeline.settings import Settings


@dataclass(frozen=True)
class Evidence:
    """What the models said of the test examples at the primary horizon, row by row, and what happened."""

    customer_id: np.ndarray  # [examples], strings
    cutoff: np.ndarray  # [examples], microseconds since 1970 in UTC
    window: np.ndarray  # [examples], counted from the oldest
    labels: np.ndarray  # [examples], 1 where the customer churned
    results: tuple[Result, ...]
    fitted: dict[str, dict[str, Any]]  # name -> the parameters that its fit ended with
    curves: dict[str, dict[str, list[float]]]  # name -> measure -> value an epoch


def read_evidence(settings: Settings, cutoff: datetime) -> Evidence:
    """The results of every model of `models.names`. Raises RecurError, which names it, where one is missing."""
    folder = paths.snapshot(settings, cutoff)
    first: pa.Table | None = None
    results: list[Result] = []
    fitted: dict[str, dict[str, Any]] = {}
    curves: dict[str, dict[str, list[float]]] = {}
    for name in settings.models.names:
        file, rows_file = folder / "results" / f"{name}.json", folder / "predictions" / f"{name}.parquet"
        if not file.exists() or not rows_file.exists():
            raise RecurError(f"{name} has no result as of {cutoff.date()} in {folder}: run `recur train` for it")
        result, rows = json.loads(file.read_text("utf-8")), _test_rows(rows_file, settings.question.primary)
        first = first or rows
        if not rows.select(["customer_id", "cutoff"]).equals(first.select(["customer_id", "cutoff"])):
            raise RecurError(f"{name} was tested on other examples than {results[0].name}: run `recur train` anew")
        fitted[name], curves[name] = result.pop("parameters"), result.pop("curves")
        results.append(Result(**result, test_probability=rows["churn_probability"].to_numpy()))
    assert first is not None
    return Evidence(
        customer_id=np.asarray(first["customer_id"].to_pylist(), dtype=object),
        cutoff=first["cutoff"].cast(pa.int64()).to_numpy(),
        window=first["window"].to_numpy(),
        labels=first["churn"].to_numpy(),
        results=tuple(results),
        fitted=fitted,
        curves=curves,
    )


def _test_rows(file: Path, horizon: int) -> pa.Table:
    table = pq.read_table(file)
    return table.filter(pc.and_(pc.equal(table["slice"], "test"), pc.equal(table["horizon_days"], horizon)))


def windows(settings: Settings, meta: dict[str, Any], evidence: Evidence) -> list[dict[str, Any]]:
    """The test's forward windows, each `[first test cutoff, last test cutoff + primary horizon)`, and its examples."""
    horizon = timedelta(days=settings.question.primary)
    tests = [[datetime.fromisoformat(moment) for moment in slices["test"]] for slices in meta["windows"]]
    counts = np.bincount(evidence.window, minlength=len(tests))
    return [
        {"start": test[0], "end": test[-1] + horizon, "examples": int(count)}
        for test, count in zip(tests, counts, strict=True)
    ]
