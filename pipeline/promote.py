"""The gate, and what follows it: the best recipe is fitted once more on every example whose horizon has closed,
registered, and made champion where the evidence allows it. Also the champion by hand.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from features.dataset import Dataset
from models.evidence.intervals import customer_weights
from models.evidence.promotion import Candidate, decide
from models.evidence.verdict import best_of
from pipeline import registry, tracking
from pipeline.compare import COMPARISON
from pipeline.errors import NothingToDo, RecurError
from pipeline.evidence import Evidence, read_evidence
from pipeline.nights import Night
from pipeline.paths import snapshot as folder_of
from pipeline.record import recorded
from pipeline.settings import Settings
from pipeline.snapshot import microseconds, read_snapshot, slice_of, test_of, write_outcome
from pipeline.train import recipe, timed_fit

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
    it as challenger, and make it champion if the gate passes it on the test examples. Where it does not, and nothing
    reigns that answers the question, the fallback is fitted and serves.

    Epochs and rounds are those that validation found. Gives `promoted, version, recipe, reasons`.
    """
    with recorded(settings, "promote", Night(None, cutoff)) as figures:
        data, meta = read_snapshot(settings, cutoff)
        if not (folder_of(settings, cutoff) / COMPARISON).exists():
            raise RecurError(f"the models as of {cutoff.date()} were not compared yet: run `recur train` for it")
        evidence = read_evidence(settings, cutoff)
        winner = best_of(evidence.results, ("recurrent", "hybrid", "neural", "conventional"))
        if winner is None:
            raise NothingToDo(f"no model as of {cutoff.date()} has a log loss on validation: nothing to promote")
        reigning = _reigning(settings, evidence, test_of(data, meta))
        decision = decide(
            Candidate(winner.name, winner.name, winner.test_probability),
            reigning.candidate,
            _base_rate(slice_of(data, meta, "train"), settings.question.primary),
            evidence.labels,
            customer_weights(evidence.customer_id, REPLICATES, settings.run.seed),
            margin=settings.models.margin,
        )
        version = _refit(settings, cutoff, winner.name, evidence.fitted[winner.name], data, meta["run_id"])
        reasons = [reigning.words, *decision.reasons]
        if decision.promote:
            registry.crown(settings, version.number)
        elif not _answered(settings):
            version = _refit(settings, cutoff, FALLBACK, {}, data, meta["run_id"])
            registry.crown(settings, version.number)
            reasons.append(f"so that customers have scores, the {FALLBACK} rule serves until a model passes the gate")
        outcome = {
            "promoted": decision.promote,
            "version": version.number,
            "recipe": version.recipe,
            "reasons": reasons,
        }
        parent = tracking.existing_run(settings, meta["run_id"])
        parent.tags({"promoted": str(decision.promote).lower(), "winner": winner.name})
        parent.text("\n".join(reasons) + "\n", "gate.txt")
        tracking.finish(parent)
        write_outcome(settings, cutoff, outcome)
        figures["rows_read"] = len(data)
        verb = "is the champion" if registry.champion(settings) == version else "was refused and stays challenger"
        figures["message"] = f"{version.label} {verb}: {'; '.join(reasons)}"
        log.info("%s", figures["message"])
    return outcome


def promote_version(settings: Settings, version: int) -> dict[str, Any]:
    """Make a registered version the champion by hand. Raises RecurError where there is none such, or it answers
    another question.
    """
    chosen = registry.version(settings, version)
    if chosen.question_digest != settings.question.digest:
        raise RecurError(
            f"{chosen.label} answers question {chosen.question_digest}, and [question] asks "
            f"{settings.question.digest}: promote a version of the same question, or run `recur train`"
        )
    registry.crown(settings, version)
    return {"version": chosen.number, "recipe": chosen.recipe, "champion": chosen.label}


def rollback(settings: Settings) -> dict[str, Any]:
    """Make the champion before the present one champion again. Raises RecurError where there was none."""
    chosen = registry.version(settings, registry.uncrown(settings))
    return {"version": chosen.number, "recipe": chosen.recipe, "champion": chosen.label}


def _reigning(settings: Settings, evidence: Evidence, test: Dataset) -> Reigning:
    """The champion's predictions of the test examples.

    The artefact itself is asked where it knew nothing past the first test cutoff. A younger one has seen outcomes of
    the test, so its recipe stands for it, trained beside the challenger; without that nothing fair can be compared.
    """
    champion = registry.champion(settings)
    if champion is None:
        return Reigning(None, "no champion reigns")
    if champion.question_digest != settings.question.digest:
        return Reigning(None, f"the champion, {champion.label}, answers another question")
    if microseconds(champion.trained_until) <= test.cutoff.min():
        place = test.horizons.index(settings.question.primary)
        probability = registry.load(settings, champion).predict(test).churn_probability[:, place]
        return Reigning(Candidate(champion.label, champion.recipe, probability), f"{champion.label} reigns")
    for result in evidence.results:
        if result.name == champion.recipe:
            candidate = Candidate(champion.label, champion.recipe, result.test_probability)
            return Reigning(candidate, f"{champion.label} reigns, and its recipe on the same examples stands for it")
    return Reigning(None, f"{champion.label} reigns, but has seen outcomes of the test, and its recipe is not compared")


def _answered(settings: Settings) -> bool:
    """Whether a champion reigns that answers today's question."""
    champion = registry.champion(settings)
    return champion is not None and champion.question_digest == settings.question.digest


def _base_rate(train: Dataset, horizon: int) -> float:
    """The share of training examples that churned: what a model that knows no customer would say."""
    assert train.labels is not None
    return float(np.nanmean(train.labels.churn[:, train.horizons.index(horizon)]))


def _refit(
    settings: Settings, cutoff: datetime, name: str, parameters: dict[str, Any], data: Dataset, parent: str
) -> registry.Version:
    model = recipe(settings, name, parameters)
    with tracking.child_run(settings, f"{name} on all examples", parent, {"family": model.family}) as run:
        seconds = timed_fit(model, data, None)
        run.parameters({"seed": model.seed, "horizons": list(model.horizons), **model.parameters})
        run.metrics({"fit_seconds": seconds, "examples": len(data)})
        run.curves(model.curves)
        return registry.register(settings, run, model, name, cutoff)
