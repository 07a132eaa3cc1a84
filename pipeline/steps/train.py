"""Train one recipe on the snapshot's examples, and keep what it predicts of the validation and the test examples."""

import logging
import time
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.dataset import Dataset
from models import model_class
from models.base import Model
from models.spec import ModelSpec
from pipeline.config.sections import Evidence, Models
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.training.evidence import write_result
from pipeline.training.fits import default_spec, fit_windows
from pipeline.training.snapshot import Snapshot, digest
from pipeline.training.tracking import Run, Tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.tuning import Trial

log = logging.getLogger("recur.train")


def train(settings: Settings, cutoff: datetime, name: str) -> str:
    """Tune the recipe `name` where `models.trials` asks for it, fit it on every window with every seed, predict the
    later parts; log all of it to a child run, and give that run's id. Parameters, curves and calibration are those of
    the latest window and the first seed.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, f"train {name}", Night(None, cutoff)) as figures:
        folder = settings.state.snapshot(cutoff)
        snapshot = Snapshot.read(folder, settings.question)
        tracking = Tracking(settings.mlflow, settings.state)
        spec = default_spec(name, settings.models)
        tags = {"family": model_class(name).family, "recipe": name}
        with tracking.child_run(name, snapshot.run_id, tags) as run:
            spec = _tuned(spec, snapshot, settings.models.trials, settings.run.seed, _on_trial(tracking, name, run))
            fits = fit_windows(spec, snapshot, settings.evidence, settings.run.seed)
            model, loss = fits.model, fits.valid_log_loss
            spent = budget(settings.models, settings.evidence, len(snapshot.windows))
            calibration = asdict(model.calibration) if model.calibration else None
            measures = {
                "fit_seconds": fits.fit_seconds,
                "predict_customers_per_second": _customers_per_second(model, fits.test),
                "valid_log_loss": loss,
            }
            result: dict[str, Any] = {
                "name": name,
                "family": model.family,
                "run_id": run.run_id,
                "test_digest": snapshot.test_digest,
                "information": fits.information,
                "budget": spent,
                "parameters": model.parameters,
                "calibration": calibration,
                "curves": model.curves,
                **measures,
            }
            run.parameters({"seed": model.random_state, "horizons": list(model.horizons), **model.parameters})
            run.parameters({"calibration": calibration, "budget": spent})
            run.metrics(measures)
            run.curves(model.curves)
            run.dataset("train", digest(fits.train), len(fits.train), folder)
            run.dataset("test", snapshot.test_digest, snapshot.examples["test"], folder)
            write_result(folder, result, fits.predictions, fits.ablations)
        figures["rows_read"] = len(fits.train)
        shown = "unknown" if loss is None else f"{loss:.4f}"
        figures["message"] = f"log loss {shown} on validation"
        examples = f"{len(fits.train):,}"
        log.info("%s trained on %s examples in %.1f s: %s", name, examples, fits.fit_seconds, figures["message"])
    return run.run_id


def budget(models: Models, evidence: Evidence, windows: int) -> str:
    """What every model of a comparison may spend, in words: two runs that differ in it are not comparable."""
    return (
        f"{models.trials} trials, {models.max_epochs} epochs, {evidence.seeds} seeds, {windows} windows, "
        f"calibration {evidence.calibration}"
    )


def _tuned(
    spec: ModelSpec, snapshot: Snapshot, trials: int, random_state: int, on_trial: "Callable[[Trial], None]"
) -> ModelSpec:
    """`spec` with what `trials` on the oldest window choose, which sees no test; as it is if nothing can be tuned."""
    kind = model_class(spec.name)
    if trials < 2 or not kind.space:
        return spec
    from models.tuning import Search, tune

    question = snapshot.question
    space = {key: values for key, values in kind.space.items() if key not in spec.parameters}

    def build(tried: "Mapping[str, Any]") -> Model:
        return ModelSpec(spec.name, {**spec.parameters, **tried}).build(question.horizons, random_state)

    search = Search(space, kind.defaults, trials, question.primary, random_state)
    chosen = tune(build, search, snapshot.part("train", 0), snapshot.part("valid", 0), on_trial)
    return ModelSpec(spec.name, {**spec.parameters, **chosen})


def _on_trial(tracking: Tracking, name: str, run: Run) -> "Callable[[Trial], None]":
    """Makes every trial a child run of `run`."""

    def on_trial(trial: "Trial") -> None:
        tags = {"recipe": name, "state": "given up" if trial.log_loss is None else "finished"}
        with tracking.child_run(f"{name} trial {trial.number}", run.run_id, tags) as child:
            child.parameters(trial.parameters)
            child.metrics({"valid_log_loss": trial.log_loss})
        log.info("%s trial %d: %s, log loss %s", name, trial.number, trial.parameters, trial.log_loss)

    return on_trial


def _customers_per_second(model: Model, test: Dataset) -> float:
    """How fast a night would be scored: the customers of the last test cutoff, each predicted once."""
    night = test.select(test.cutoff == test.cutoff.max())
    started = time.perf_counter()
    model.predict(night)
    return len(night) / (time.perf_counter() - started)
