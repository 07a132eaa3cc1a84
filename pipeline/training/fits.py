"""A recipe on the snapshot's windows: with every seed fitted on each window's training part, stopped by validation,
calibrated, refitted on all that was known when the test begins, and asked for predictions.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.dataset import Dataset
from models import MODELS, model_class
from models.base import Model, OnEpoch, total
from models.calibration import Calibration
from models.contender import Contender, MemberChoice, Procedure, contend, mean_losses
from models.held_out import Parts
from models.spec import BETWEEN_SEEDS, ModelSpec
from pipeline.config.sections import Evidence, Models
from pipeline.runtime.errors import ConfigurationError
from pipeline.training.ablations import SCHEMA, ablation_table
from pipeline.training.contender_files import ContenderFiles, StoredFit
from pipeline.training.predictions import prediction_rows, repeated_for
from pipeline.training.snapshot import Snapshot, digest

log = logging.getLogger("recur.train")
CONTENDERS, TWIN = "contenders", "twin_of_"


@dataclass(frozen=True)
class Fits:
    """`parameters`, `calibration` (of the refit) and `curves` are of the latest window and the first seed.
    `predictions` has a row for each seed, window, later part, horizon and example, the test's both `before` the refit
    and by it (`test`); `ablations` one for each ablation and example, at the primary horizon. `valid_log_loss`, by
    which the best of a side is chosen, is the mean intercept-adjusted log loss over seeds and the examples of
    validation and calibration of the oldest window, which lie before every test; None where none could be scored.
    `information` is the digest of all that was read.
    """

    spec: ModelSpec
    calibration: Calibration | None
    curves: dict[str, list[float]]
    predictions: pa.Table
    ablations: pa.Table
    valid_log_loss: float | None
    fit_seconds: float
    predict_customers_per_second: float
    spent: dict[str, int]
    information: str
    choices: tuple[MemberChoice, ...] = ()  # a window, of a pool that takes a member in


@dataclass(frozen=True)
class Training:
    """What all recipes of a training share. `folder` is the snapshot's, where fits are kept; None keeps none."""

    snapshot: Snapshot
    evidence: Evidence
    random_state: int
    folder: Path | None = None

    @property
    def procedure(self) -> Procedure:
        return Procedure(self.snapshot.question.horizons, self.evidence.calibration, self.evidence.refit_map)

    @property
    def primary(self) -> int:
        return self.snapshot.question.primary_index

    @property
    def seeds(self) -> range:
        return range(self.evidence.seeds)

    def windows(self) -> "Iterator[FitWindow]":
        """Oldest first."""
        for number in range(len(self.snapshot.windows)):
            parts = self.snapshot.parts(number)
            yield FitWindow(number, parts, known_digest(parts))

    def state_of(self, seed: int) -> int:
        return self.random_state + BETWEEN_SEEDS * seed

    def files(self, name: str, window: "FitWindow", seed: int) -> ContenderFiles | None:
        """Of the fits that are kept under `name`; None where none are."""
        if self.folder is None:
            return None
        seed = seed if model_class(name.removeprefix(TWIN)).seeded else 0
        return ContenderFiles(self.folder / CONTENDERS / name, window.parts, window.number, seed)


@dataclass(frozen=True, eq=False)
class FitWindow:
    number: int
    parts: Parts
    known: str  # digest of what a fit reads


def fit_windows(spec: ModelSpec, training: Training, name: str | None = None) -> Fits:
    """Fit `spec` on every window, once for each seed, by what `Snapshot.part` lets a part know; its fits are kept under
    `name`, by default the model's.
    """
    gathered = Gathered(training)
    for window in training.windows():
        for seed, fit in enumerate(fit_window(spec, name or spec.name, training, window)):
            gathered.add(window, seed, fit)
    return gathered.fits(spec.name)


def fit_window(spec: ModelSpec, name: str, training: Training, window: FitWindow) -> list[StoredFit]:
    """The same on one window, a fit a seed."""
    seeds = training.seeds if model_class(spec.name).seeded else training.seeds[:1]
    return [_fit(spec, name, training, window, seed) for seed in seeds]


class Gathered:
    """What the fits of one recipe come to, window by window and seed by seed."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.rows: dict[int, list[pa.Table]] = {}  # by seed
        self.ablations = [SCHEMA.empty_table()]
        self.oldest: list[Contender] = []
        self.seconds = 0.0
        self.spent: list[dict[str, int]] = []
        self.information = hashlib.sha256()

    def add(self, window: FitWindow, seed: int, fit: StoredFit, like: Contender | None = None) -> None:
        """`like`: see `Contender.of`."""
        parts, number = window.parts, window.number
        contender = Contender.of(fit.raw, parts, self.training.procedure, like)
        held_out = parts.held_out
        predictions = [(part, held_out[part], rows) for part, rows in contender.held_out.items()]
        predictions += [("before", parts.test, contender.before), ("test", parts.test, contender.test)]
        self.rows.setdefault(seed, []).extend(prediction_rows(seed, number, *part) for part in predictions)
        if seed == 0:
            self.ablations.append(fit.ablations)
            self.latest = contender, fit
            self.information.update(window.known.encode())
        if number == 0:
            self.oldest.append(contender)
            self.oldest_parts = parts
        self.seconds += fit.fit_seconds
        self.spent.append(fit.spent)

    def fits(self, name: str) -> Fits:
        contender, fit = self.latest
        seeds = self.training.seeds
        rows = pa.concat_tables(table for tables in self.rows.values() for table in tables)
        losses = mean_losses(self.oldest, self.oldest_parts, self.training.primary)
        return Fits(
            ModelSpec(name, fit.parameters),
            contender.refit_calibration,
            fit.curves,
            rows if len(self.oldest) == len(seeds) else repeated_for(seeds, rows),
            pa.concat_tables(self.ablations),
            float(losses.mean()) if len(losses) else None,
            self.seconds,
            fit.predict_customers_per_second,
            total(self.spent),
            self.information.hexdigest()[:16],
        )


def _fit(spec: ModelSpec, name: str, training: Training, window: FitWindow, seed: int) -> StoredFit:
    """The fit that is kept, else a new one, which is kept."""
    parts, files = window.parts, training.files(name, window, seed)
    procedure, random_state = training.procedure, training.state_of(seed)
    made_of = hashlib.sha256(
        f"{spec.identity} {window.known} {procedure} {random_state} {training.evidence.retrained_ablations}".encode()
    ).hexdigest()
    if files and (stored := files.read(made_of)):
        log.info("%s on window %d with seed %d is fitted already", name, window.number + 1, seed)
        return stored
    started = time.perf_counter()
    label = f"{name}, window {window.number + 1}, seed {seed}"
    contender, model, refit = contend(spec, parts, procedure, random_state, log_epochs(label))
    seconds = time.perf_counter() - started
    ablations = SCHEMA.empty_table()
    if seed == 0:
        ablations = ablation_table(refit, parts, window.number, training.evidence, training.primary)
    fit = StoredFit(
        contender.raw,
        made_of,
        model.parameters,
        model.curves,
        seconds,
        _customers_per_second(refit, parts.test),
        total([model.spent, refit.spent]),
        ablations,
    )
    if files:
        files.write(fit)
    return fit


def default_spec(name: str, models: Models, reads: Mapping[str, bool]) -> ModelSpec:
    """The recipe of that name as the settings for networks have it, which reads the pieces of information that all do.
    Only a network has an optimizer; a boosted model's learning rate is another thing. Raises ConfigurationError for a
    name that there is not.
    """
    if name not in MODELS:
        raise ConfigurationError(f"models.names: there is no model {name!r}; there are {', '.join(MODELS)}")
    defaults = model_class(name).defaults
    chosen = {"optimizer": models.optimizer, "learning_rate": models.learning_rate, "max_epochs": models.max_epochs}
    parameters = {key: value for key, value in chosen.items() if "optimizer" in defaults and key in defaults}
    parameters |= {piece: read for piece, read in reads.items() if piece in defaults}
    return ModelSpec(name, {key: value for key, value in parameters.items() if value is not None})


def timed_fit(model: Model, name: str, train: Dataset, valid: Dataset | None) -> float:
    """Wall seconds of a fit, whose epochs are logged under `name`."""
    started = time.perf_counter()
    model.fit(train, valid, log_epochs(name))
    return time.perf_counter() - started


def log_epochs(name: str) -> OnEpoch:
    """Logs every epoch of a fit under `name`; what progress shows is the latest of it."""

    def on_epoch(epoch: int, measures: dict[str, float]) -> None:
        figures = ", ".join(f"{measure} {value:.4g}" for measure, value in measures.items())
        log.debug("%s: epoch %d, %s", name, epoch, figures)

    return on_epoch


def known_digest(parts: Parts) -> str:
    """The digest of what a fit reads, as it lies in memory: examples, labels, aggregates, the steps of histories."""
    content = hashlib.sha256()
    for data in (parts.train, parts.valid, parts.calibrate, parts.known):
        sequences = data.sequences
        content.update(digest(data).encode())
        content.update("\0".join(map(str, data.aggregates.columns)).encode())
        codes = [array for codes, names in sequences.categorical.values() for array in (codes, np.array(names, "U"))]
        pointers = [sequences.offsets, sequences.event_time, sequences.history, sequences.length]
        for array in (data.aggregates.to_numpy(np.float64), *pointers, *sequences.numeric.values(), *codes):
            content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:16]


def _customers_per_second(model: Model, test: Dataset) -> float:
    """How fast a night would be scored: the customers of the last test cutoff, each predicted once."""
    night = test.select(test.cutoff == test.cutoff.max())
    started = time.perf_counter()
    model.predict(night)
    return len(night) / (time.perf_counter() - started)
