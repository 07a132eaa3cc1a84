"""The gate, and what follows it: the best recipe is fitted once more on every example whose horizon has closed,
registered, and made champion where the evidence allows it. Also the champion by hand.
"""

import logging
from datetime import datetime
from typing import Any

import numpy as np

from features.dataset import Dataset
from features.time import microseconds
from models.evaluation.gate import Candidate, Gate, decide
from models.evaluation.statements.sides import best_of
from models.spec import ModelSpec
from pipeline.config import sections
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.steps.compare import COMPARISON
from pipeline.training.evidence import Evidence, Fitted, read_evidence
from pipeline.training.fits import Training, fit_windows, timed_fit
from pipeline.training.global_importance import write_global_importance
from pipeline.training.predictions import part_rows
from pipeline.training.registry import Registry, Version, open_registry
from pipeline.training.snapshot import Snapshot, write_outcome

log = logging.getLogger("recur.promote")
FALLBACK = "recency"
"""What serves where no model beats a constant and there is no champion: barely more than the base rate."""


def promote(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Take the recipe with the lowest log loss on validation, fit it on every closed example as of `cutoff`, register
    it as challenger, and make it champion if the gate passes it on the test examples. The champion's recipe competes
    too, fitted on the same splits. Where the gate refuses, and no champion answers the question, the fallback is fitted
    and serves.

    Epochs, rounds and the calibration are those that the splits found. Gives `promoted, version, recipe, reasons`.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "promote", Night(None, cutoff)) as figures:
        folder, registry = settings.state.snapshot(cutoff), open_registry(settings)
        snapshot, random_state = Snapshot.read(folder, settings.question), settings.run.seed
        if not (folder / COMPARISON).exists():
            raise RecurError(f"the models as of {cutoff.date()} were not compared yet: run `recur train` for it")
        evidence = read_evidence(folder, snapshot, settings.models.names)
        winner = best_of(evidence.results, ("recurrent", "hybrid", "neural", "conventional"))
        if winner is None:
            raise NothingToDo(f"no model as of {cutoff.date()} has a log loss on validation: nothing to promote")
        fitted = evidence.fitted[winner.name]
        challenger = Candidate(winner.name, fitted.spec.identity, winner.test_probability)
        champion, why = _champion(registry, evidence, challenger, settings.evidence, random_state)
        gate = Gate(
            constant=_base_rate(snapshot.part("train"), settings.question.primary_index),
            margin=settings.models.margin,
            subgroups={
                f"{dimension}: {name}": mask
                for dimension, masks in evidence.subgroups().items()
                for name, mask in masks.items()
            },
            may_change=_may_change(registry, cutoff),
        )
        weights = evidence.test.weights(random_state)
        decision = decide(challenger, champion, gate, evidence.test.labels, weights)
        version = _refit(registry, predictions, snapshot, fitted, random_state)
        reasons = [why, *decision.reasons]
        if decision.promote:
            registry.set_champion(version.number)
        elif champion is None:
            version = _refit(registry, predictions, snapshot, Fitted(ModelSpec(FALLBACK, {})), random_state)
            registry.set_champion(version.number)
            reasons.append(f"so that customers have scores, the {FALLBACK} rule serves until a model passes the gate")
        outcome = {"promoted": decision.promote, "version": version.number, "recipe": version.name, "reasons": reasons}
        parent = registry.tracking.existing_run(snapshot.run_id)
        parent.tags({"promoted": str(decision.promote).lower(), "winner": winner.name})
        parent.text("\n".join(reasons) + "\n", "gate.txt")
        parent.finish()
        write_outcome(folder, settings.question.digest, outcome)
        figures["rows_read"] = len(snapshot.data)
        verb = "is the champion" if registry.champion() == version else "was refused and stays challenger"
        figures["message"] = f"{version.label} {verb}: {'; '.join(reasons)}"
        log.info("%s", figures["message"])
    return outcome


def promote_version(registry: Registry, number: int) -> Version:
    """Make a version champion by hand. Raises RecurError if there is none such or it answers another question."""
    version = registry.version(number)
    if version.question_digest != registry.question.digest:
        raise RecurError(
            f"{version.label} answers question {version.question_digest}, and [question] asks "
            f"{registry.question.digest}: promote a version of the same question, or run `recur train`"
        )
    registry.set_champion(number)
    return version


def _champion(
    registry: Registry, evidence: Evidence, challenger: Candidate, spending: sections.Evidence, random_state: int
) -> tuple[Candidate | None, str]:
    """How the champion enters the gate: as a candidate, or not at all, and in either case why.

    Recipes compete: the champion's stands for it, as fitted beside the others or, where it is none of them, fitted now
    on the same splits. Where it is the challenger's own recipe, the artefact itself predicts, if it knew nothing past
    the first test cutoff: a fresh fit must then not be worse than it.
    """
    champion, snapshot = registry.champion(), evidence.snapshot
    if champion is None:
        return None, "there is no champion"
    if champion.question_digest != registry.question.digest:
        return None, f"the champion, {champion.label}, answers another question"
    identity, test = champion.spec.identity, snapshot.test()
    if identity == challenger.recipe and microseconds(champion.trained_until) <= test.cutoff.min():
        predictions = registry.load(champion).predict(test)
        probability = evidence.test.of_examples(predictions.churn_probability[:, snapshot.question.primary_index])
        return Candidate(champion.label, identity, probability), f"{champion.label} is the champion"
    for name, probability in evidence.probabilities().items():
        if evidence.fitted[name].spec.identity == identity:
            words = f"{champion.label} is the champion, and its recipe on the same examples stands for it"
            return Candidate(champion.label, identity, probability), words
    fits = fit_windows(champion.spec.recipe, Training(snapshot, spending, random_state))
    probability = part_rows(fits.predictions, "test", snapshot.question.primary)["churn_probability"].to_numpy()
    words = f"{champion.label} is the champion, and its recipe, fitted once more on the same splits, stands for it"
    return Candidate(champion.label, identity, probability), words


def _may_change(registry: Registry, cutoff: datetime) -> bool:
    """Whether the champion's recipe has served for a primary horizon since its first version in a row was trained."""
    champions = [registry.version(number) for number in registry.champion_history()]
    if not champions:
        return True
    since = champions[-1]
    for earlier in reversed(champions):
        if earlier.spec.identity != since.spec.identity:
            break
        since = earlier
    return cutoff - since.trained_until >= registry.question.primary * DAY


def _base_rate(train: Dataset, horizon_index: int) -> float:
    """The share of training examples that churned: what a model that knows no customer would predict."""
    assert train.labels is not None
    return float(np.nanmean(train.labels.churn[:, horizon_index]))


def _refit(
    registry: Registry, predictions: PredictionsStore, snapshot: Snapshot, fitted: Fitted, random_state: int
) -> Version:
    """Fit the recipe on every example, with what its fits on the splits found, and register it."""
    name = fitted.spec.name
    model = fitted.spec.build(snapshot.question.horizons, random_state)
    tags = {"family": model.family}
    with registry.tracking.child_run(f"{name} on all examples", snapshot.run_id, tags) as run:
        seconds = timed_fit(model, name, snapshot.data, None)
        model.calibration = fitted.calibration
        run.parameters({"seed": model.random_state, "horizons": list(model.horizons), **model.parameters})
        run.metrics({"fit_seconds": seconds, "examples": len(snapshot.data)})
        run.curves(model.curves)
        write_global_importance(run, predictions, name, model, snapshot)
        return registry.register(run, model, name, snapshot.cutoff)
