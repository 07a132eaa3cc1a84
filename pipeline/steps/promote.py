"""The gate, and what follows it: the best recipe is fitted once more on every example whose horizon has closed,
registered, and made champion where the evidence allows it. Also the champion by hand.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from features.dataset import Dataset
from models.calibration import Calibration
from models.evaluation.gate import Candidate, Gate, decide
from models.evaluation.intervals import customer_weights
from models.evaluation.subgroups import subgroups
from models.evaluation.verdict import best_of
from models.spec import ModelSpec
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night
from pipeline.serving.database import open_predictions
from pipeline.steps.compare import COMPARISON
from pipeline.training.evidence import Evidence, read_evidence, test_rows
from pipeline.training.fits import fit_windows, recipe, timed_fit
from pipeline.training.global_importance import what_moves_risk
from pipeline.training.registry import Registry, Version, open_registry
from pipeline.training.snapshot import Snapshot, microseconds, write_outcome

log = logging.getLogger("recur.promote")
REPLICATES = 1000
FALLBACK = "recency"
"""What serves where no model beats a constant and nothing reigns: barely more than the base rate."""


@dataclass(frozen=True)
class Reigning:
    """How the champion enters the gate: as a candidate, or not at all, and in either case why."""

    candidate: Candidate | None
    words: str


def promote(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Take the recipe with the lowest log loss on validation, fit it on every closed example as of `cutoff`, register
    it as challenger, and make it champion if the gate passes it on the test examples. The reigning recipe competes too,
    fitted on the same splits. Where the gate refuses, and nothing reigns that answers the question, the fallback is
    fitted and serves.

    Epochs, rounds and the calibration are those that the splits found. Gives `promoted, version, recipe, reasons`.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "promote", Night(None, cutoff)) as figures:
        folder, registry = settings.state.snapshot(cutoff), open_registry(settings)
        snapshot = Snapshot.read(folder, settings.question)
        if not (folder / COMPARISON).exists():
            raise RecurError(f"the models as of {cutoff.date()} were not compared yet: run `recur train` for it")
        evidence = read_evidence(settings, cutoff)
        winner = best_of(evidence.results, ("recurrent", "hybrid", "neural", "conventional"))
        if winner is None:
            raise NothingToDo(f"no model as of {cutoff.date()} has a log loss on validation: nothing to promote")
        challenger = ModelSpec(winner.name, evidence.fitted[winner.name]).identity
        reigning = _reigning(settings, registry, evidence, snapshot, challenger)
        decision = decide(
            Candidate(winner.name, challenger, winner.test_probability),
            reigning.candidate,
            Gate(
                _base_rate(snapshot.part("train"), settings.question.primary),
                settings.models.margin,
                subgroups=_subgroups(snapshot, evidence),
                may_change=_may_change(registry, cutoff),
            ),
            evidence.labels,
            customer_weights(evidence.customer_id, REPLICATES, settings.run.seed),
        )
        version = _refit(
            settings,
            registry,
            cutoff,
            winner.name,
            evidence.fitted[winner.name],
            evidence.calibration[winner.name],
            snapshot.data,
            snapshot.run_id,
        )
        reasons = [reigning.words, *decision.reasons]
        if decision.promote:
            registry.set_champion(version.number)
        elif not _answered(registry):
            version = _refit(settings, registry, cutoff, FALLBACK, {}, None, snapshot.data, snapshot.run_id)
            registry.set_champion(version.number)
            reasons.append(f"so that customers have scores, the {FALLBACK} rule serves until a model passes the gate")
        outcome = {
            "promoted": decision.promote,
            "version": version.number,
            "recipe": version.name,
            "reasons": reasons,
        }
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


def promote_version(settings: Settings, version: int) -> dict[str, Any]:
    """Make a registered version the champion by hand. Raises RecurError where there is none such, or it answers
    another question.
    """
    registry = open_registry(settings)
    chosen = registry.version(version)
    if chosen.question_digest != settings.question.digest:
        raise RecurError(
            f"{chosen.label} answers question {chosen.question_digest}, and [question] asks "
            f"{settings.question.digest}: promote a version of the same question, or run `recur train`"
        )
    registry.set_champion(version)
    return {"version": chosen.number, "recipe": chosen.name, "champion": chosen.label}


def rollback(settings: Settings) -> dict[str, Any]:
    """Make the champion before the present one champion again. Raises RecurError where there was none."""
    registry = open_registry(settings)
    chosen = registry.version(registry.roll_back())
    return {"version": chosen.number, "recipe": chosen.name, "champion": chosen.label}


def _reigning(
    settings: Settings, registry: Registry, evidence: Evidence, snapshot: Snapshot, challenger: str
) -> Reigning:
    """The champion's predictions of the test examples.

    Recipes compete: the champion's stands for it, as fitted beside the others or, where it is none of them, fitted now
    on the same splits. Where it is the challenger's own recipe, the artefact itself is asked, if it knew nothing past
    the first test cutoff: a fresh fit must then not be worse than it.
    """
    champion = registry.champion()
    if champion is None:
        return Reigning(None, "no champion reigns")
    if champion.question_digest != settings.question.digest:
        return Reigning(None, f"the champion, {champion.label}, answers another question")
    own = champion.spec.identity
    test = snapshot.test()
    if own == challenger and microseconds(champion.trained_until) <= test.cutoff.min():
        place = test.horizons.index(settings.question.primary)
        probability = registry.load(champion).predict(test).churn_probability[:, place]
        return Reigning(Candidate(champion.label, own, evidence.of_examples(probability)), f"{champion.label} reigns")
    for result in evidence.results:
        if ModelSpec(result.name, evidence.fitted[result.name]).identity == own:
            candidate = Candidate(champion.label, own, result.test_probability)
            return Reigning(candidate, f"{champion.label} reigns, and its recipe on the same examples stands for it")
    recipe = champion.spec.recipe
    fits = fit_windows(settings, snapshot, recipe.name, dict(recipe.parameters), lambda epoch, measures: None)
    said = test_rows(fits.predictions, settings)["churn_probability"].to_numpy()
    words = f"{champion.label} reigns, and its recipe, fitted once more on the same splits, stands for it"
    return Reigning(Candidate(champion.label, own, said), words)


def _may_change(registry: Registry, cutoff: datetime) -> bool:
    """Whether the recipe that reigns has reigned for a primary horizon: by the cutoff as of which its first version in
    an unbroken row was trained.
    """
    reigned = [registry.version(number) for number in registry.champion_history()]
    if not reigned:
        return True
    since = reigned[-1]
    for earlier in reversed(reigned):
        if earlier.spec.identity != since.spec.identity:
            break
        since = earlier
    return cutoff - since.trained_until >= registry.question.primary * DAY


def _subgroups(snapshot: Snapshot, evidence: Evidence) -> dict[str, np.ndarray]:
    named = subgroups(snapshot.test().aggregates, snapshot.seen_in_training())
    return {
        f"{dimension}: {name}": evidence.of_examples(mask)
        for dimension, masks in named.items()
        for name, mask in masks.items()
    }


def _answered(registry: Registry) -> bool:
    """Whether a champion reigns that answers today's question."""
    champion = registry.champion()
    return champion is not None and champion.question_digest == registry.question.digest


def _base_rate(train: Dataset, horizon: int) -> float:
    """The share of training examples that churned: what a model that knows no customer would say."""
    assert train.labels is not None
    return float(np.nanmean(train.labels.churn[:, train.horizons.index(horizon)]))


def _refit(
    settings: Settings,
    registry: Registry,
    cutoff: datetime,
    name: str,
    parameters: dict[str, Any],
    calibration: dict[str, Any] | None,
    data: Dataset,
    parent: str,
) -> Version:
    model = recipe(settings, name, parameters)
    with registry.tracking.child_run(f"{name} on all examples", parent, {"family": model.family}) as run:
        seconds = timed_fit(model, data, None, lambda epoch, measures: log.debug("%s %d %s", name, epoch, measures))
        model.calibration = Calibration.from_json(calibration) if calibration else None
        run.parameters({"seed": model.random_state, "horizons": list(model.horizons), **model.parameters})
        run.metrics({"fit_seconds": seconds, "examples": len(data)})
        run.curves(model.curves)
        what_moves_risk(settings, cutoff, name, model, data, run)
        return registry.register(run, model, name, cutoff)
