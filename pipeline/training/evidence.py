"""What the trained models predicted of the test examples, for the comparison, the report and the gate."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.calibration import Calibration
from models.evaluation.result import Result, TestSet, Window
from models.evaluation.subgroups import subgroups
from models.labels import VALUES
from models.spec import ModelSpec
from pipeline.runtime.described import described, was_written
from pipeline.runtime.errors import RecurError
from pipeline.training.predictions import mean_churn, part_rows
from pipeline.training.snapshot import Snapshot, read_json, read_rows


@dataclass(frozen=True)
class Fitted:
    """What a refit takes over from the fits on the splits: the parameters that they ended with, and the map."""

    spec: ModelSpec
    calibration: Calibration | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """`results` are of the test's rows at the primary horizon; `observed`, `predicted`: mean churn by days."""

    snapshot: Snapshot
    test: TestSet
    results: tuple[Result, ...]
    fitted: dict[str, Fitted]
    curves: dict[str, dict[str, list[float]]]  # name -> measure -> value an epoch
    ablations: dict[str, pa.Table]
    observed: dict[int, float]
    predicted: dict[str, dict[int, float]]

    def probabilities(self) -> dict[str, np.ndarray]:
        """Name -> churn probability of each row of the test."""
        return {result.name: np.asarray(result.test_probability) for result in self.results}

    def subgroups(self) -> dict[str, dict[str, np.ndarray]]:
        """Dimension -> subgroup -> mask of the test's rows."""
        named = subgroups(self.snapshot.test().aggregates, self.snapshot.seen_in_training())
        return {
            dimension: {name: self.test.of_examples(mask) for name, mask in masks.items()}
            for dimension, masks in named.items()
        }


def write_result(folder: Path, result: dict[str, Any], predictions: pa.Table, ablations: pa.Table) -> None:
    """`result` has the keys of `Result`, `parameters`, `calibration` and `curves`."""
    name = result["name"]
    for kind, table in (("predictions", predictions), ("altered", ablations)):
        with described(folder, f"{kind}/{name}.parquet") as file:
            pq.write_table(table, file)
    with described(folder, f"results/{name}.json") as file:
        file.write_text(json.dumps(result, indent=2), "utf-8")


def read_evidence(folder: Path, snapshot: Snapshot, names: Sequence[str]) -> Evidence:
    """The results of every model of `names`. Raises RecurError, which names it, where one is missing."""
    first: pa.Table | None = None
    results: list[Result] = []
    fitted, curves, ablations = {}, {}, {}
    observed, predicted = dict[int, float](), {}
    for name in names:
        file, rows_file = folder / "results" / f"{name}.json", folder / "predictions" / f"{name}.parquet"
        if not all(was_written(folder, each.relative_to(folder).as_posix()) for each in (file, rows_file)):
            raise RecurError(f"{name} has no result as of {folder.name} in {folder}: run `recur train` for it")
        content, table = read_json(folder, f"results/{name}.json"), read_rows(folder, f"predictions/{name}.parquet")
        rows, before = (part_rows(table, part, snapshot.question.primary) for part in ("test", "before"))
        first = first or rows
        same = ["seed", "customer_id", "cutoff"]
        if not rows.select(same).equals(first.select(same)):
            raise RecurError(f"{name} was tested on other examples than {results[0].name}: run `recur train` again")
        if "member" in content:  # an earlier recur chose one for all windows
            content["members"] = [content.pop("member")]
        calibration = content.pop("calibration")
        spec = ModelSpec(name, content.pop("parameters"))
        fitted[name] = Fitted(spec, Calibration(**calibration) if calibration else None)
        curves[name] = content.pop("curves")
        ablations[name] = read_rows(folder, f"altered/{name}.parquet")
        observed, predicted[name] = mean_churn(table)
        results.append(
            Result(
                **content,
                test_probability=rows["churn_probability"].to_numpy(),
                test_probability_before=before["churn_probability"].to_numpy(),
                test_purchases=_values(rows, "expected_purchases"),
                test_spend=_values(rows, "expected_spend"),
            )
        )
    assert first is not None
    test = _test_set(snapshot, first)
    return Evidence(snapshot, test, tuple(results), fitted, curves, ablations, observed, predicted)


def _test_set(snapshot: Snapshot, rows: pa.Table) -> TestSet:
    reach = timedelta(days=snapshot.question.reach)
    return TestSet(
        question_digest=snapshot.question.digest,
        digest=snapshot.test_digest,
        windows=tuple(Window(split.test[0], split.test[-1] + reach) for split in snapshot.windows),
        window=rows["window"].to_numpy(),
        seed=rows["seed"].to_numpy(),
        customer_id=np.asarray(rows["customer_id"].to_pylist(), dtype=object),
        cutoff=rows["cutoff"].cast(pa.int64()).to_numpy(),
        labels=rows["churn"].to_numpy(),
        values={outcome: rows[outcome].to_numpy() for outcome in VALUES},
    )


def _values(rows: pa.Table, name: str) -> np.ndarray | None:
    return None if rows[name].null_count else rows[name].to_numpy()
