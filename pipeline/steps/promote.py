"""The gate, and what follows it: the best recipe is fitted once more on every example whose horizon has closed,
registered, and made champion where the evidence allows it. Also the champion by hand.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from features.time import MICROSECONDS_A_DAY, microseconds
from models.evaluation.promotion.gate import Candidate, Decision, Gate, decide
from models.evaluation.promotion.nomination import Contest, Nomination, trainings_needed
from models.evaluation.statements.sides import best_of
from models.spec import ModelSpec
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import Night
from pipeline.runtime.paths import StateFolder
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.steps.compare import COMPARISON
from pipeline.training.evidence import Evidence, Fitted, read_evidence
from pipeline.training.fits import Training, fit_windows, timed_fit
from pipeline.training.global_importance import write_global_importance
from pipeline.training.predictions import part_rows
from pipeline.training.registry import Registry, Version, open_registry
from pipeline.training.snapshot import Snapshot, finished_trainings, read_outcome, write_outcome

log = logging.getLogger("recur.promote")
FALLBACK = "recency"
"""What serves where no model beats a constant and there is no champion: barely more than the base rate."""


def promote(settings: Settings, cutoff: datetime) -> dict[str, Any]:
    """Judge a recipe on the test examples: the one that earlier trainings nominated or, where none was or it is not
    clearly ahead again, the best on validation and calibration. Fit it on every closed example as of `cutoff`, register
    it as challenger, and make it champion if the gate passes it. The champion's recipe competes too, fitted on the same
    splits; while another is refused or waits, it is renewed if the gate passes it. Where the gate refuses, and no
    champion answers the question, the fallback is fitted and serves.

    Epochs, rounds and the calibration are those that the splits found. Gives `promoted, version, recipe, reasons` and
    the `nomination` that the next training reads.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "promote", Night(None, cutoff)) as figures:
        folder, registry = settings.state.snapshot(cutoff), open_registry(settings)
        snapshot = Snapshot.read(folder, settings.question)
        if not (folder / COMPARISON).exists():
            raise RecurError(f"the models as of {cutoff.date()} were not compared yet: run `recur train` for it")
        evidence = read_evidence(folder, snapshot, settings.models.names)
        judged = _judged(settings, registry, evidence)
        fitted, decision = evidence.fitted[judged.name], judged.decision
        reasons = [judged.opponent, *decision.reasons]
        if judged.renewed:
            renewed = _refit(registry, predictions, snapshot, evidence.fitted[judged.renewed], settings)
            registry.set_champion(renewed.number)
            reasons.append(f"meanwhile {renewed.label}, of the champion's recipe, is the champion")
        version = _refit(registry, predictions, snapshot, fitted, settings)
        if decision.promote:
            registry.set_champion(version.number)
        elif judged.is_first:
            version = _refit(registry, predictions, snapshot, Fitted(ModelSpec(FALLBACK, {})), settings)
            registry.set_champion(version.number)
            reasons.append(f"so that customers have scores, the {FALLBACK} rule serves until a model passes the gate")
        outcome = {
            "promoted": decision.promote,
            "version": version.number,
            "recipe": version.name,
            "reasons": reasons,
            "nomination": asdict(judged.nomination) if judged.nomination else None,
        }
        parent = registry.tracking.existing_run(snapshot.run_id)
        parent.tags({"promoted": str(decision.promote).lower(), "winner": judged.name})
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


@dataclass(frozen=True)
class _Judged:
    """The recipe that was judged. `opponent` says against whom; `nomination` is for the next training. `renewed` is the
    model of the champion's own recipe, where another was judged and not promoted, and this one passes the gate.
    """

    name: str
    decision: Decision
    opponent: str
    is_first: bool
    nomination: Nomination | None
    renewed: str | None


def _judged(settings: Settings, registry: Registry, evidence: Evidence) -> _Judged:
    """Raises NothingToDo where no model could be chosen."""
    snapshot, random_state = evidence.snapshot, settings.run.seed
    best = best_of(evidence.results, ("recurrent", "hybrid", "neural", "conventional"))
    if best is None:
        cutoff = snapshot.cutoff.date()
        raise NothingToDo(f"no model as of {cutoff} has a log loss on validation: nothing to promote")
    champion, no_champion = _present_champion(registry)
    contest = _contest(settings.state, champion, evidence) if champion else None
    training = Training(snapshot, settings.evidence, random_state)
    gate = Gate(
        [_base_rate(snapshot, window) for window in range(len(snapshot.windows))],
        settings.models.margin,
        {
            f"{dimension}: {name}": mask
            for dimension, masks in evidence.subgroups().items()
            for name, mask in masks.items()
        },
        contest,
    )
    weights, probabilities = evidence.test.weights(random_state), evidence.probabilities()

    def judge(name: str) -> tuple[Decision, str]:
        recipe = evidence.fitted[name].spec.identity
        opponent, words = None, no_champion
        if champion:
            opponent, words = _stand_in(registry, evidence, training, champion, recipe)
        candidate = Candidate(name, recipe, probabilities[name])
        return decide(candidate, opponent, gate, evidence.test.labels, weights), words

    name = contest.nominee or best.name if contest else best.name
    decision, words = judge(name)
    if name != best.name and not decision.trainings:
        name = best.name
        decision, words = judge(name)
    if decision.promote or not champion or not contest:
        return _Judged(name, decision, words, champion is None, None, None)
    same = (each for each in evidence.fitted if evidence.fitted[each].spec.identity == champion.spec.identity)
    own = next(same, name)
    renewed = own if own != name and judge(own)[0].promote else None
    return _Judged(name, decision, words, False, contest.after(name, decision.trainings), renewed)


def _present_champion(registry: Registry) -> tuple[Version | None, str]:
    """The champion that answers the question, or None and why there is none."""
    champion = registry.champion()
    if champion is None:
        return None, "there is no champion"
    if champion.question_digest != registry.question.digest:
        return None, f"the champion, {champion.label}, answers another question"
    return champion, ""


def _contest(state: StateFolder, champion: Version, evidence: Evidence) -> Contest:
    """What a change of recipe takes: nothing more than being clearly ahead once where the champion serves as fallback
    only. Where the outcome of an earlier training is gone, its nomination is, and the recipe starts anew.
    """
    question, cutoff = evidence.snapshot.question, evidence.snapshot.cutoff
    own = read_outcome(state, question.digest, champion.trained_until)
    is_fallback = champion.name == FALLBACK and own and own["version"] == champion.number and not own["promoted"]
    earlier = [moment for moment in finished_trainings(state, question.digest) if moment < cutoff]
    last = read_outcome(state, question.digest, earlier[-1]) if earlier else None
    stored = last.get("nomination") if last else None
    competing = [result.name for result in evidence.results if result.chosen]
    return Contest(
        champion=champion.spec.identity,
        cutoff=microseconds(cutoff),
        test_cutoffs=evidence.test.cutoff,
        horizon=question.primary * MICROSECONDS_A_DAY,
        needed=1 if is_fallback else trainings_needed(evidence.test.seeds),
        nomination=Nomination(**stored) if stored and stored["name"] in competing else None,
    )


def _stand_in(
    registry: Registry, evidence: Evidence, training: Training, champion: Version, challenger: str
) -> tuple[Candidate, str]:
    """The champion before the gate, against the recipe `challenger`, and how it stands there.

    Recipes compete: the champion's stands for it, as fitted beside the others or, where it is none of them, fitted now
    on the same splits. Where it is the challenger's own recipe, the artefact itself predicts, if it knew nothing past
    the first test cutoff: a fresh fit must then not be worse than it.
    """
    snapshot, identity = evidence.snapshot, champion.spec.identity
    test = snapshot.test()
    if identity == challenger and microseconds(champion.trained_until) <= test.cutoff.min():
        predictions = registry.load(champion).predict(test)
        probability = evidence.test.of_examples(predictions.churn_probability[:, snapshot.question.primary_index])
        return Candidate(champion.label, identity, probability), f"{champion.label} is the champion"
    for name, probability in evidence.probabilities().items():
        if evidence.fitted[name].spec.identity == identity:
            words = f"{champion.label} is the champion, and its recipe on the same examples stands for it"
            return Candidate(champion.label, identity, probability), words
    fits = fit_windows(champion.spec.recipe, training)
    probability = part_rows(fits.predictions, "test", snapshot.question.primary)["churn_probability"].to_numpy()
    words = f"{champion.label} is the champion, and its recipe, fitted once more on the same splits, stands for it"
    return Candidate(champion.label, identity, probability), words


def _base_rate(snapshot: Snapshot, window: int) -> float:
    """The share that churned of what was known when the window's test begins, by which every model was refitted: what
    one that knows no customer would predict.
    """
    labels = snapshot.known_before_test(window).labels
    assert labels is not None
    return float(np.nanmean(labels.churn[:, snapshot.question.primary_index]))


def _refit(
    registry: Registry, predictions: PredictionsStore, snapshot: Snapshot, fitted: Fitted, settings: Settings
) -> Version:
    """Fit the recipe on every example, with what its fits on the splits found, and register it. Where maps are
    levelled, its own is by the latest examples, those of the test.
    """
    random_state, refit_map = settings.run.seed, settings.evidence.refit_map
    name = fitted.spec.name
    model = fitted.spec.build(snapshot.question.horizons, random_state)
    tags = {"family": model.family}
    with registry.tracking.child_run(f"{name} on all examples", snapshot.run_id, tags) as run:
        seconds = timed_fit(model, name, snapshot.data, None)
        if fitted.calibration and refit_map == "levelled":
            latest = snapshot.part("test")
            assert latest.labels is not None
            model.calibration = fitted.calibration.levelled(
                latest.labels.churn, model.predict(latest).churn_probability
            )
        else:
            model.calibration = fitted.calibration
        run.parameters({"seed": model.random_state, "horizons": list(model.horizons), **model.parameters})
        run.metrics({"fit_seconds": seconds, "examples": len(snapshot.data)})
        run.curves(model.curves)
        write_global_importance(run, predictions, name, model, snapshot)
        return registry.register(run, model, name, snapshot)
