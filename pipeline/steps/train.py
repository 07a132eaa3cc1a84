"""Train one recipe on the snapshot's examples, and keep what it says about the validation and the test examples."""

import json
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from features.dataset import Dataset
from models.base import Model
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime import paths
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.training.fits import default_parameters, fit_windows, recipe
from pipeline.training.snapshot import Snapshot, digest
from pipeline.training.tracking import Run, Tracking

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.tuning import Trial

log = logging.getLogger("recur.train")


def train(settings: Settings, cutoff: datetime, name: str) -> str:
    """Tune the recipe `name` where `models.trials` asks for it, fit it on every window with every seed, predict the
    later slices; log all of it to a child run, and give that run's id. Parameters, curves and calibration are those of
    the latest window and the first seed.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, f"train {name}", Night(None, cutoff)) as figures:
        folder = settings.state.snapshot(cutoff)
        snapshot = Snapshot.read(folder, settings.question)
        tracking = Tracking(settings.mlflow, settings.state)
        kind = type(recipe(settings, name))
        with tracking.child_run(name, snapshot.run_id, {"family": kind.family, "recipe": name}) as run:
            parameters = default_parameters(settings, kind) | _tuned(
                settings, snapshot, name, kind, _on_trial(tracking, name, run)
            )
            fits = fit_windows(settings, snapshot, name, parameters, _on_epoch(name))
            model, loss = fits.model, fits.valid_log_loss
            for room, table in (("predictions", fits.predictions), ("altered", fits.altered)):
                with paths.atomically(folder / room / f"{name}.parquet") as file:
                    pq.write_table(table, file)
            measures = {
                "fit_seconds": fits.fit_seconds,
                "predict_customers_per_second": _customers_per_second(model, fits.test),
                "valid_log_loss": loss,
            }
            calibration = model.calibration.to_json() if model.calibration else None
            run.parameters({"seed": model.random_state, "horizons": list(model.horizons), **model.parameters})
            run.parameters({"calibration": calibration, "budget": budget(settings, len(snapshot.windows))})
            run.metrics(measures)
            run.curves(model.curves)
            run.dataset("train", digest(fits.train), len(fits.train), folder)
            run.dataset("test", snapshot.test_digest, snapshot.examples["test"], folder)
            result = {
                "name": name,
                "family": model.family,
                "run_id": run.run_id,
                "test_digest": snapshot.test_digest,
                "information": fits.known,
                "budget": budget(settings, len(snapshot.windows)),
                "parameters": model.parameters,
                "calibration": calibration,
                "curves": model.curves,
                **measures,
            }
            with paths.atomically(folder / "results" / f"{name}.json") as file:
                file.write_text(json.dumps(result, indent=2), "utf-8")
        figures["rows_read"] = len(fits.train)
        shown = "unknown" if loss is None else f"{loss:.4f}"
        figures["message"] = f"log loss {shown} on validation"
        log.info(
            "%s trained on %s examples in %.1f s: %s",
            name,
            f"{len(fits.train):,}",
            fits.fit_seconds,
            figures["message"],
        )
    return run.run_id


def budget(settings: Settings, windows: int) -> str:
    """What every model of a comparison may spend, in words: two runs that differ in it are not comparable."""
    return (
        f"{settings.models.trials} trials, {settings.models.max_epochs} epochs, {settings.evidence.seeds} seeds, "
        f"{windows} windows, calibration {settings.evidence.calibration}"
    )


def _tuned(
    settings: Settings, snapshot: Snapshot, name: str, kind: type[Model], on_trial: "Callable[[Trial], None]"
) -> dict[str, Any]:
    """What `models.trials` trials on the oldest window choose, so that what is tuned has seen no test. A model that has
    nothing to tune spends none.
    """
    if settings.models.trials < 2 or not kind.space:
        return {}
    from models.tuning import Search, tune

    fixed = default_parameters(settings, kind)
    space = {key: values for key, values in kind.space.items() if key not in fixed}
    return tune(
        lambda tried: recipe(settings, name, fixed | dict(tried)),
        Search(space, kind.defaults, settings.models.trials, settings.question.primary, settings.run.seed),
        snapshot.part("train", 0),
        snapshot.part("valid", 0),
        on_trial,
    )


def _on_trial(tracking: Tracking, name: str, run: Run) -> "Callable[[Trial], None]":
    """Makes every trial a child run of `run`."""

    def on_trial(trial: "Trial") -> None:
        tags = {"recipe": name, "state": "given up" if trial.log_loss is None else "finished"}
        with tracking.child_run(f"{name} trial {trial.number}", run.run_id, tags) as child:
            child.parameters(trial.parameters)
            child.metrics({"valid_log_loss": trial.log_loss})
        log.info("%s trial %d: %s, log loss %s", name, trial.number, trial.parameters, trial.log_loss)

    return on_trial


def _on_epoch(name: str) -> Any:
    return lambda epoch, measures: log.debug("%s epoch %d: %s", name, epoch, measures)


def _customers_per_second(model: Model, test: Dataset) -> float:
    """How fast a night would be scored: the customers of the last test cutoff, each asked once."""
    night = test.select(test.cutoff == test.cutoff.max())
    started = time.perf_counter()
    model.predict(night)
    return len(night) / (time.perf_counter() - started)
