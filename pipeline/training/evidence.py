"""What the trained models said of the test examples, read from their files: the evidence that is compared, reported and
put before the gate.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.evaluation.result import Result, TestSet, Window
from models.labels import VALUES
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.training.snapshot import Snapshot


@dataclass(frozen=True)
class Evidence:
    """What the models said of the test examples at the primary horizon, row by row, and what happened. A row is an
    example and a seed: all examples of the first seed, then all of the next; `rows` is their number.
    """

    customer_id: np.ndarray  # [rows], strings
    cutoff: np.ndarray  # [rows], microseconds since 1970 in UTC
    window: np.ndarray  # [rows], counted from the oldest
    seed: np.ndarray  # [rows], counted from 0
    labels: np.ndarray  # [rows], 1 where the customer churned
    values: dict[str, np.ndarray]  # purchases and spend that came -> [rows]
    results: tuple[Result, ...]
    fitted: dict[str, dict[str, Any]]  # name -> the parameters that its fit ended with
    calibration: dict[str, dict[str, Any] | None]  # name -> its calibration as JSON
    curves: dict[str, dict[str, list[float]]]  # name -> measure -> value an epoch
    altered: dict[str, pa.Table]  # name -> what it said when its histories were altered
    observed: dict[int, float]  # horizon in days -> the share of the test examples that churned within it
    predicted: dict[str, dict[int, float]]  # name -> horizon -> the mean probability that it said of the same

    @property
    def seeds(self) -> int:
        return int(self.seed.max()) + 1 if len(self.seed) else 1

    def of_examples(self, values: np.ndarray) -> np.ndarray:
        """[rows] of [examples]: the same for every seed."""
        return np.tile(values, self.seeds)


def read_evidence(settings: Settings, cutoff: datetime) -> Evidence:
    """The results of every model of `models.names`. Raises RecurError, which names it, where one is missing."""
    folder = settings.state.snapshot(cutoff)
    first: pa.Table | None = None
    results: list[Result] = []
    facts: dict[str, dict[str, Any]] = {"parameters": {}, "calibration": {}, "curves": {}}
    altered: dict[str, pa.Table] = {}
    observed: dict[int, float] = {}
    predicted: dict[str, dict[int, float]] = {}
    for name in settings.models.names:
        file, rows_file = folder / "results" / f"{name}.json", folder / "predictions" / f"{name}.parquet"
        if not file.exists() or not rows_file.exists():
            raise RecurError(f"{name} has no result as of {cutoff.date()} in {folder}: run `recur train` for it")
        result, table = json.loads(file.read_text("utf-8")), pq.read_table(rows_file)
        rows = test_rows(table, settings)
        first = first or rows
        same = ["seed", "customer_id", "cutoff"]
        if not rows.select(same).equals(first.select(same)):
            raise RecurError(f"{name} was tested on other examples than {results[0].name}: run `recur train` anew")
        for key, known in facts.items():
            known[name] = result.pop(key)
        observed, predicted[name] = _by_horizon(table)
        altered[name] = pq.read_table(folder / "altered" / f"{name}.parquet")
        results.append(
            Result(
                **result,
                test_probability=rows["churn_probability"].to_numpy(),
                test_purchases=_values(rows, "expected_purchases"),
                test_spend=_values(rows, "expected_spend"),
            )
        )
    assert first is not None
    return Evidence(
        customer_id=np.asarray(first["customer_id"].to_pylist(), dtype=object),
        cutoff=first["cutoff"].cast(pa.int64()).to_numpy(),
        window=first["window"].to_numpy(),
        seed=first["seed"].to_numpy(),
        labels=first["churn"].to_numpy(),
        values={outcome: first[outcome].to_numpy() for outcome in VALUES},
        results=tuple(results),
        fitted=facts["parameters"],
        calibration=facts["calibration"],
        curves=facts["curves"],
        altered=altered,
        observed=observed,
        predicted=predicted,
    )


def test_rows(table: pa.Table, settings: Settings) -> pa.Table:
    """Of a recipe's predictions those of the test at the primary horizon, in the order of `Evidence`."""
    kept = pc.and_(pc.equal(table["slice"], "test"), pc.equal(table["horizon_days"], settings.question.primary))
    return table.filter(kept)


def _by_horizon(table: pa.Table) -> tuple[dict[int, float], dict[int, float]]:
    """Horizon -> the mean of the churn that was observed on the test, and of what was said of the same examples."""
    known = table.filter(pc.and_(pc.equal(table["slice"], "test"), pc.invert(pc.is_nan(table["churn"]))))
    means = known.group_by("horizon_days").aggregate([("churn", "mean"), ("churn_probability", "mean")])
    days = means["horizon_days"].to_pylist()
    return (
        dict(zip(days, means["churn_mean"].to_pylist(), strict=True)),
        dict(zip(days, means["churn_probability_mean"].to_pylist(), strict=True)),
    )


def _values(rows: pa.Table, name: str) -> np.ndarray | None:
    return None if rows[name].null_count else rows[name].to_numpy()


def test_set(snapshot: Snapshot, evidence: Evidence) -> TestSet:
    """The rows of `evidence`, each in its forward window."""
    reach = timedelta(days=snapshot.question.reach)
    return TestSet(
        question_digest=snapshot.question.digest,
        digest=snapshot.test_digest,
        windows=tuple(Window(split.test[0], split.test[-1] + reach) for split in snapshot.windows),
        window=evidence.window,
        seed=evidence.seed,
        customer_id=evidence.customer_id,
        cutoff=evidence.cutoff,
        labels=evidence.labels,
        values=evidence.values,
    )
