"""Train one recipe on the snapshot's examples, and keep what it predicts of the validation and the test examples."""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from models import POOLS, model_class
from models.base import Model
from models.spec import ModelSpec
from pipeline.config.sections import Evidence, Models
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.training.evidence import write_result
from pipeline.training.fits import Training, default_spec, fit_windows
from pipeline.training.pools import joining, train_pool
from pipeline.training.snapshot import Snapshot, digest
from pipeline.training.tracking import Run, Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.tuning import Trial

log = logging.getLogger("recur.train")


def train(settings: Settings, cutoff: datetime, name: str) -> str:
    """Tune the recipe `name` where `models.trials` asks for it, fit and refit it on every window with every seed,
    predict the later parts; log all of it to a child run, and give that run's id. A pool is made of the fits of its
    members, which are trained first. Parameters, curves and calibration are those of the latest window and the first
    seed.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, f"train {name}", Night(None, cutoff)) as figures:
        folder = settings.state.snapshot(cutoff)
        snapshot = Snapshot.read(folder, settings.question)
        training = Training(snapshot, settings.evidence, settings.run.seed, folder)
        tracking = Tracking(settings.mlflow, settings.state)
        spec = default_spec(name, settings.models, snapshot.reads)
        tags = {"family": model_class(name).family, "recipe": name}
        with tracking.child_run(name, snapshot.run_id, tags) as run:
            trials = _Trials(tracking, name, run)
            if name in POOLS:
                fits = train_pool(name, settings.models.names, training)
            else:
                fits = fit_windows(_tuned(spec, training, settings.models.trials, trials), training)
            spent = {"trials": trials.number, **fits.spent}
            calibration = asdict(fits.calibration) if fits.calibration else None
            measures = {
                "fit_seconds": fits.fit_seconds,
                "predict_customers_per_second": fits.predict_customers_per_second,
                "valid_log_loss": fits.valid_log_loss,
            }
            offered = budget(settings.models, settings.evidence, len(snapshot.windows))
            result: dict[str, Any] = {
                "name": name,
                "family": model_class(name).family,
                "run_id": run.run_id,
                "test_digest": snapshot.test_digest,
                "information": fits.information,
                "budget": offered,
                "spent": spent,
                "members": joining(fits.choices),
                "chosen": not fits.choices or any(choice.chosen for choice in fits.choices),
                "parameters": fits.spec.parameters,
                "calibration": calibration,
                "curves": fits.curves,
                **measures,
            }
            run.parameters({"seed": settings.run.seed, "horizons": list(snapshot.question.horizons)})
            run.parameters({**fits.spec.parameters, "calibration": calibration, "budget": offered, "spent": spent})
            run.metrics(measures)
            run.curves(fits.curves)
            train = snapshot.part("train")
            run.dataset("train", digest(train), len(train), folder)
            run.dataset("test", snapshot.test_digest, snapshot.examples["test"], folder)
            write_result(folder, result, fits.predictions, fits.ablations)
        figures["rows_read"] = len(train)
        shown = "unknown" if fits.valid_log_loss is None else f"{fits.valid_log_loss:.4f}"
        figures["message"] = f"log loss {shown} on validation"
        examples = f"{len(train):,}"
        log.info("%s trained on %s examples in %.1f s: %s", name, examples, fits.fit_seconds, figures["message"])
    return run.run_id


def budget(models: Models, evidence: Evidence, windows: int) -> str:
    """What every model of a comparison may spend, in words: two runs that differ in it are not comparable."""
    return (
        f"{models.trials} trials, {models.max_epochs} epochs, {evidence.seeds} seeds, {windows} windows, "
        f"calibration {evidence.calibration}, {evidence.refit_map.replace('_', '-')} after the refit"
    )


def _tuned(spec: ModelSpec, training: Training, offered: int, on_trial: "_Trials") -> ModelSpec:
    """`spec` with what trials on the oldest window choose, which sees no test; as it is if nothing can be tuned."""
    kind, snapshot = model_class(spec.name), training.snapshot
    trials = kind.trials_of(offered)
    if not trials:
        return spec
    from models.tuning import Search, tune

    question = snapshot.question
    space = {key: values for key, values in kind.space.items() if key not in spec.parameters}

    def build(tried: "Mapping[str, Any]") -> Model:
        return ModelSpec(spec.name, {**spec.parameters, **tried}).build(question.horizons, training.random_state)

    search = Search(space, kind.defaults, trials, question.primary, training.random_state)
    chosen = tune(build, search, snapshot.part("train", 0), snapshot.part("valid", 0), on_trial)
    return ModelSpec(spec.name, {**spec.parameters, **chosen})


@dataclass
class _Trials:
    """Makes every trial a child run of `run`, and counts them."""

    tracking: Tracking
    name: str
    run: Run
    number: int = 0

    def __call__(self, trial: "Trial") -> None:
        self.number += 1
        tags = {"recipe": self.name, "state": "given up" if trial.log_loss is None else "finished"}
        with self.tracking.child_run(f"{self.name} trial {trial.number}", self.run.run_id, tags) as child:
            child.parameters(trial.parameters)
            child.metrics({"valid_log_loss": trial.log_loss})
        log.info("%s trial %d: %s, log loss %s", self.name, trial.number, trial.parameters, trial.log_loss)
