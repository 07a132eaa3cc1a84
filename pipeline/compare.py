"""Compare the trained models on the test examples, and put the outcome where people look: the verdict, the comparison's
files, `model_comparison`, and MLflow's parent run.
"""

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.evidence.comparison import compare as compare_results
from models.evidence.metrics import clip_probabilities
from models.evidence.result import Result
from pipeline import paths, tracking
from pipeline.comparison_report import comparison_report
from pipeline.errors import RecurError
from pipeline.nights import Night
from pipeline.record import recorded
from pipeline.serving.database import write_comparison
from pipeline.settings import Settings
from pipeline.snapshot import read_snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("recur.compare")
COMPARISON, TEST_PREDICTIONS, REPORT = "comparison.json", "test_predictions.parquet", "report.html"


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


def compare(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Score every model of `models.names` on the shared test examples as of `cutoff`; gives the verdict.

    Raises RecurError where a model's result is missing or is of other test examples.
    """
    with recorded(settings, "compare", Night(None, cutoff)) as figures:
        data, meta = read_snapshot(settings, cutoff)
        evidence = read_evidence(settings, cutoff)
        try:
            comparison = compare_results(
                evidence.results,
                evidence.labels,
                evidence.customer_id,
                question_digest=meta["question_digest"],
                test_digest=meta["test_digest"],
                windows=windows(settings, meta, evidence),
                margin=settings.models.margin,
                seed=settings.run.seed,
            ).to_json()
        except ValueError as error:
            raise RecurError(f"the models as of {cutoff.date()} cannot be compared: {error}") from None
        folder = paths.snapshot(settings, cutoff)
        _write_test_predictions(folder / TEST_PREDICTIONS, evidence)
        with paths.atomically(folder / COMPARISON) as file:
            file.write_text(json.dumps(comparison, indent=2), "utf-8")
        write_comparison(settings, cutoff, comparison)
        pictures = _pictures(comparison, evidence)
        page = comparison_report(settings, data, meta, comparison, evidence, pictures)
        with paths.atomically(folder / REPORT) as file:
            file.write_text(page, "utf-8")
        _log(settings, meta["run_id"], comparison, evidence, pictures, page)
        verdict = comparison["verdict"]
        figures["rows_read"] = len(evidence.labels)
        figures["message"] = verdict["sentence"]
        log.info("%s", verdict["sentence"])
    return {key: verdict[key] for key in ("decision", "sentence", "best_recurrent", "best_conventional")}


def last_comparison(settings: Settings) -> dict[str, Any]:
    """The object that `recur compare --format json` prints, of the latest cutoff. Raises RecurError if none."""
    content: dict[str, Any] = json.loads((_last_folder(settings) / COMPARISON).read_text("utf-8"))
    return content


def last_predictions(settings: Settings) -> Path:
    """The Parquet file of its every test row: `customer_id, cutoff, window, label, model, probability`."""
    return _last_folder(settings) / TEST_PREDICTIONS


def windows(settings: Settings, meta: dict[str, Any], evidence: Evidence) -> list[dict[str, Any]]:
    """The test's forward windows, each `[first test cutoff, last test cutoff + primary horizon)`, and its examples."""
    horizon = timedelta(days=settings.question.primary)
    tests = [[datetime.fromisoformat(moment) for moment in slices["test"]] for slices in meta["windows"]]
    counts = np.bincount(evidence.window, minlength=len(tests))
    return [
        {"start": test[0], "end": test[-1] + horizon, "examples": int(count)}
        for test, count in zip(tests, counts, strict=True)
    ]


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


def _write_test_predictions(path: Path, evidence: Evidence) -> None:
    """`probability` as the metrics read it, clipped, so that they can be computed again from this file."""
    rows = len(evidence.labels)
    tables = [
        pa.table(
            {
                "customer_id": pa.array(evidence.customer_id.tolist(), pa.string()),
                "cutoff": pa.array(evidence.cutoff, pa.int64()).cast(pa.timestamp("us", "UTC")),
                "window": pa.array(evidence.window),
                "label": pa.array(evidence.labels),
                "model": pa.array([result.name] * rows),
                "probability": pa.array(clip_probabilities(result.test_probability)),
            }
        )
        for result in evidence.results
    ]
    with paths.atomically(path) as file:
        pq.write_table(pa.concat_tables(tables), file)


def _log(
    settings: Settings,
    run_id: str,
    comparison: dict[str, Any],
    evidence: Evidence,
    pictures: "dict[str, Figure]",
    page: str,
) -> None:
    from models.evidence import plots

    parent = tracking.existing_run(settings, run_id)
    verdict = comparison["verdict"]
    parent.metrics({key: verdict[key] for key in ("difference", "low", "high", "margin")})
    parent.tags({"decision": verdict["decision"], "mlflow.note.content": verdict["sentence"]})
    parent.text(json.dumps(comparison, indent=2), COMPARISON)
    parent.text(page, REPORT)
    said = {result.name: result.test_probability for result in evidence.results}
    for name, figure in pictures.items():
        parent.figure(figure, f"plots/{name}.png")
    for model in comparison["models"]:
        child = tracking.existing_run(settings, model["run_id"])
        child.metrics(
            {
                f"test_{metric}{suffix}": interval[end]
                for metric, interval in model["metrics"].items()
                for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high"))
            }
        )
        name = model["name"]
        child.figure(plots.calibration(evidence.labels, {name: said[name]}), "plots/calibration.png")
        if evidence.curves[name]:
            child.figure(plots.training_curves({name: evidence.curves[name]}), "plots/training_curves.png")


def _pictures(comparison: dict[str, Any], evidence: Evidence) -> "dict[str, Figure]":
    from models.evidence import plots

    said = {result.name: result.test_probability for result in evidence.results}
    return {
        "comparison": plots.comparison(comparison),
        "training_curves": plots.training_curves(evidence.curves),
        **{
            name: getattr(plots, name)(evidence.labels, said)
            for name in ("roc", "precision_recall", "calibration", "gain")
        },
    }


def _last_folder(settings: Settings) -> Path:
    found = sorted((settings.var / "snapshots").glob(f"*/{COMPARISON}"))
    if not found:
        raise RecurError("no comparison was made yet: run `recur run`, or `recur train`")
    return found[-1].parent
