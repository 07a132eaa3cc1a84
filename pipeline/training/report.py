"""The comparison as one HTML file that needs nothing else: the verdict, figures with intervals, pictures."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.evaluation.ablation import ABLATIONS
from models.evaluation.details import DETAILS
from models.evaluation.metrics import METRICS, example_log_loss
from models.evaluation.subgroups import Subgroup, subgroup_differences
from models.evaluation.values import VALUE_METRICS
from pipeline.training.ablations import WITHOUT_STATE
from pipeline.training.evidence import Evidence

TEMPLATE = Path(__file__).with_suffix(".html")
SUBGROUP_REPLICATES = 1000


def comparison_report(
    evidence: Evidence,
    comparison: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    contact_cost: float,
    random_state: int,
) -> str:
    """The page of a `comparison` of `evidence`; `pictures` are PNG."""
    from jinja2 import Environment, StrictUndefined

    snapshot, verdict = evidence.snapshot, comparison["verdict"]
    best = [name for name in (verdict["best_recurrent"], verdict["best_conventional"]) if name]
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        TEMPLATE.read_text("utf-8")
    )
    return page.render(
        cutoff=snapshot.cutoff.date(),
        horizon=snapshot.question.primary,
        question=snapshot.question,
        comparison=comparison,
        remarks=snapshot.remarks,
        metrics=METRICS,
        details=DETAILS,
        value_metrics=VALUE_METRICS,
        altered={**ABLATIONS, WITHOUT_STATE: "the same heads on the same aggregates, trained without the state"},
        calibration=_calibration(evidence),
        contact_cost=contact_cost,
        best=best,
        windows=_windows(comparison, evidence, best),
        subgroups=_subgroups(evidence, best, random_state),
        pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
    )


def _calibration(evidence: Evidence) -> dict[str, Any]:
    """How the base rate moved in the latest window, and by how much each model's mean prediction was moved after it."""
    test, primary = evidence.test, evidence.snapshot.question.primary_index
    last = int(test.window.max(initial=0))
    newest = test.window == last
    models = []
    for name, probability in evidence.probabilities().items():
        calibration = evidence.fitted[name].calibration
        models.append(
            {
                "name": name,
                "kind": calibration.kind if calibration else "none",
                "predicted": calibration.predicted[primary] if calibration else None,
                "observed": calibration.base_rate[primary] if calibration else None,
                "test_predicted": float(probability[newest].mean()),
                "test_observed": float(test.labels[newest].mean()),
            }
        )
    return {"models": models, "churn": evidence.snapshot.churn[last]}


def _windows(comparison: Mapping[str, Any], evidence: Evidence, best: list[str]) -> list[dict[str, Any]]:
    """Each window of the comparison, with the share that churned in its parts and the best models' log loss in it."""
    test, probabilities = evidence.test, evidence.probabilities()
    losses = {name: example_log_loss(test.labels, probabilities[name]) for name in best}
    return [
        {
            **window,
            "churn": churn,
            "log_loss": {name: float(losses[name][test.window == number].mean()) for name in best},
        }
        for number, (window, churn) in enumerate(zip(comparison["windows"], evidence.snapshot.churn, strict=True))
    ]


def _subgroups(evidence: Evidence, best: list[str], random_state: int) -> tuple[Subgroup, ...]:
    if len(best) < 2:
        return ()
    recurrent, conventional = (evidence.probabilities()[name] for name in best)
    weights = evidence.test.weights(random_state, SUBGROUP_REPLICATES)
    return subgroup_differences(evidence.subgroups(), evidence.test.labels, recurrent, conventional, weights)
