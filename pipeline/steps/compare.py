"""Compare the trained models on the test examples: the verdict goes to files, `model_comparison` and MLflow."""

import io
import json
import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from models import MODELS
from models.evaluation.comparison import compare as compare_results
from models.evaluation.metrics import clip_probabilities
from pipeline.config.sections import Evidence as EvidenceSection
from pipeline.config.sections import Models
from pipeline.config.settings import Settings
from pipeline.datasets.dataset_files import way_back
from pipeline.monitoring.step_record import recorded
from pipeline.runtime import paths
from pipeline.runtime.described import described, was_written, whole
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import StateFolder
from pipeline.serving.database import open_predictions
from pipeline.training.ablations import with_changes
from pipeline.training.evidence import Evidence, read_evidence
from pipeline.training.report import comparison_report
from pipeline.training.snapshot import Snapshot, read_json
from pipeline.training.tracking import Tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("recur.compare")
COMPARISON, TEST_PREDICTIONS, REPORT = "comparison.json", "test_predictions.parquet", "report.html"
PLOTS = "plots"
FIGURES = "test_figures.json"  # of a model's run


def compare(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Score every model of `models.names` on the shared test examples as of `cutoff`; gives the verdict.

    Raises RecurError where a model's result is missing or is of other test examples.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "compare", Night(None, cutoff)) as figures:
        folder = settings.state.snapshot(cutoff)
        evidence = read_evidence(folder, Snapshot.read(folder, settings.question), settings.models.names)
        comparison = _compared(evidence, settings.models.margin, settings.evidence.contact_cost, settings.run.seed)
        comparison["left_out"] = left_out(settings.models, settings.evidence)
        _write_test_predictions(folder, evidence)
        with described(folder, COMPARISON) as file:
            file.write_text(json.dumps(comparison, indent=2), "utf-8")
        predictions.write_comparison(cutoff, comparison)
        pictures = {name: _png(figure) for name, figure in _figures(comparison, evidence).items()}
        page = comparison_report(evidence, comparison, pictures, settings.evidence.contact_cost, settings.run.seed)
        with paths.atomically(folder / REPORT) as file:
            file.write_text(page, "utf-8")
        for name, picture in pictures.items():
            with paths.atomically(folder / PLOTS / f"{name}.png") as file:
                file.write_bytes(picture)
        _log(Tracking(settings.mlflow, settings.state), comparison, evidence, folder / PLOTS, page)
        verdict, contribution = comparison["verdict"], comparison["contribution"]
        figures["rows_read"] = len(evidence.test.labels)
        figures["message"] = verdict["sentence"]
        log.info("%s %s", verdict["sentence"], contribution["sentence"])
    keys = ("decision", "sentence", "best_recurrent", "best_conventional")
    return {key: verdict[key] for key in keys} | {"contribution": contribution["decision"]}


def last_comparison(state: StateFolder) -> dict[str, Any]:
    """The object that `recur compare --format json` prints, of the latest cutoff. Raises RecurError if none."""
    content: dict[str, Any] = read_json(_last_folder(state), COMPARISON)
    return content


def last_predictions(state: StateFolder) -> Path:
    """The Parquet file of its every test row: `customer_id, cutoff, window, label, model, probability`, and `seed`
    where every recipe was fitted with several.
    """
    folder = _last_folder(state)
    return whole(folder, TEST_PREDICTIONS, way_back(folder))


def last_report(state: StateFolder) -> Path:
    """The page of the latest cutoff."""
    return _last_folder(state) / REPORT


def _compared(evidence: Evidence, margin: float, contact_cost: float, random_state: int) -> dict[str, Any]:
    """The comparison as JSON. Raises RecurError for evidence that is not comparable."""
    weights = evidence.test.weights(random_state)
    try:
        compared = compare_results(evidence.results, evidence.test, weights, margin, contact_cost).to_json()
    except ValueError as error:
        cutoff = evidence.snapshot.cutoff.date()
        raise RecurError(f"the models as of {cutoff} cannot be compared: {error}") from None
    return with_changes(compared, evidence, random_state)


def left_out(models: Models, evidence: EvidenceSection) -> list[str]:
    """What a full comparison has and this one has not, in words."""
    absent = [name for name in MODELS if name not in models.names]
    missing = {
        f"models that did not compete: {', '.join(absent)}": bool(absent),
        "tuning: every model has its default parameters (models.trials)": models.trials < 2,
        "more than one test window (evidence.windows)": evidence.windows < 2,
        "more than one seed, so that the chance in training is not in the intervals (evidence.seeds)": (
            evidence.seeds < 2
        ),
        "ablations that are trained again (evidence.retrained_ablations)": not evidence.retrained_ablations,
    }
    return [words for words, applies in missing.items() if applies]


def _write_test_predictions(folder: Path, evidence: Evidence) -> None:
    """`probability` as the metrics read it, clipped, so that they can be computed again from this file."""
    test = evidence.test
    seeds = {"seed": pa.array(test.seed)} if test.seeds > 1 else {}
    tables = [
        pa.table(
            {
                "customer_id": pa.array(test.customer_id.tolist(), pa.string()),
                "cutoff": pa.array(test.cutoff, pa.int64()).cast(pa.timestamp("us", "UTC")),
                "window": pa.array(test.window),
                "label": pa.array(test.labels),
                "model": pa.array([result.name] * len(test.labels)),
                "probability": pa.array(clip_probabilities(result.test_probability)),
            }
            | seeds
        )
        for result in evidence.results
    ]
    with described(folder, TEST_PREDICTIONS) as file:
        pq.write_table(pa.concat_tables(tables), file)


def _log(tracking: Tracking, comparison: dict[str, Any], evidence: Evidence, pictures: Path, page: str) -> None:
    from models.evaluation import plots

    parent = tracking.existing_run(evidence.snapshot.run_id)
    verdict = comparison["verdict"]
    parent.metrics({f"verdict_{key}": verdict[key] for key in ("difference", "low", "high")})
    parent.metrics({"margin": verdict["margin"]})
    added = comparison["contribution"]
    parent.metrics({f"contribution_{key}": added[key] for key in ("difference", "low", "high")})
    sentences = f"{verdict['sentence']}\n\n{added['sentence']}"
    parent.tags({"decision": verdict["decision"], "contribution": added["decision"], "mlflow.note.content": sentences})
    parent.text(json.dumps(comparison, indent=2), COMPARISON)
    parent.text(page, REPORT)
    parent.folder(pictures, PLOTS)
    probabilities = evidence.probabilities()
    for model in comparison["models"]:
        child = tracking.existing_run(model["run_id"])
        figures = model["metrics"] | model["details"]
        for kind, values in [*model["values"].items(), ("change when", model["log_loss_change"])]:
            figures |= {f"{kind} {metric}".replace(" ", "_"): interval for metric, interval in values.items()}
        # Few columns, so that the table of runs is read at a glance; all of them, with their intervals, as a file.
        child.text(json.dumps(figures, indent=2), FIGURES)
        child.metrics({f"test_{metric}": interval["value"] for metric, interval in model["metrics"].items()})
        loss = model["metrics"]["log_loss"]
        child.metrics({"test_log_loss_low": loss["low"], "test_log_loss_high": loss["high"]})
        name = model["name"]
        child.figure(plots.calibration(evidence.test.labels, {name: probabilities[name]}), f"{PLOTS}/calibration.png")
        if evidence.curves[name]:
            child.figure(plots.training_curves({name: evidence.curves[name]}), f"{PLOTS}/training_curves.png")


def _figures(comparison: dict[str, Any], evidence: Evidence) -> "dict[str, Figure]":
    from models.evaluation import plots

    probabilities = evidence.probabilities()
    return {
        "comparison": plots.comparison(comparison),
        "training_curves": plots.training_curves(evidence.curves),
        "altered": plots.ablations(comparison),
        "horizons": plots.horizons(evidence.observed, evidence.predicted),
        **{
            name: getattr(plots, name)(evidence.test.labels, probabilities)
            for name in ("roc", "precision_recall", "calibration", "gain")
        },
    }


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _last_folder(state: StateFolder) -> Path:
    folders = sorted(state.path.glob("snapshots/????-??-??"), reverse=True)
    folder = next((folder for folder in folders if was_written(folder, COMPARISON)), None)
    if folder is None:
        raise RecurError("no comparison was made yet: run `recur run`, or `recur train`")
    return folder
