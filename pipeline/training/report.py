"""The comparison as a page that a person reads: the verdict, every figure with its interval, and the pictures, in one
HTML file that needs nothing else.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.ablation import ABLATIONS
from models.evaluation.details import DETAILS
from models.evaluation.intervals import customer_weights
from models.evaluation.metrics import METRICS, example_log_loss
from models.evaluation.paired import paired_differences
from models.evaluation.subgroups import Subgroup, subgroup_differences, subgroups
from models.evaluation.values import VALUE_METRICS
from pipeline.config.settings import Settings
from pipeline.training.evidence import Evidence
from pipeline.training.fits import WITHOUT_STATE
from pipeline.training.snapshot import Snapshot

TEMPLATE = Path(__file__).with_suffix(".html")
REPLICATES = 1000
SUBGROUP_REPLICATES = 500


def comparison_report(
    settings: Settings,
    snapshot: Snapshot,
    comparison: Mapping[str, Any],
    evidence: Evidence,
    pictures: Mapping[str, bytes],
) -> str:
    """The page. The test examples of `snapshot` come in the order of `evidence`; `pictures` are PNG."""
    from jinja2 import Environment, StrictUndefined

    verdict = comparison["verdict"]
    best = [name for name in (verdict["best_recurrent"], verdict["best_conventional"]) if name]
    named = {result.name: result for result in evidence.results}
    reference = named.get(verdict["best_conventional"] or "")
    weights = customer_weights(evidence.customer_id, REPLICATES, settings.run.seed)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        TEMPLATE.read_text("utf-8")
    )
    return page.render(
        cutoff=snapshot.cutoff.date(),
        horizon=settings.question.primary,
        question=snapshot.question,
        comparison=comparison,
        remarks=snapshot.remarks,
        metrics=METRICS,
        details=DETAILS,
        value_metrics=VALUE_METRICS,
        altered={**ABLATIONS, WITHOUT_STATE: "the same heads on the same aggregates, trained without the state"},
        calibration=_calibration(snapshot, evidence),
        contact_cost=settings.evidence.contact_cost,
        paired=paired_differences(evidence.results, evidence.labels, weights, reference) if reference else (),
        best=best,
        windows=_windows(snapshot, comparison, evidence, best),
        slices=_slices(settings.run.seed, snapshot, evidence, best),
        pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
    )


def _calibration(snapshot: Snapshot, evidence: Evidence) -> dict[str, Any]:
    """How the base rate moved in the latest window, and by how much each model's mean prediction was moved after it."""
    last = int(evidence.window.max(initial=0))
    newest = evidence.window == last
    models = []
    for result in evidence.results:
        fitted = evidence.calibration[result.name]
        primary = snapshot.question.primary_index
        models.append(
            {
                "name": result.name,
                "kind": fitted["kind"] if fitted else "none",
                "said": fitted["predicted"][primary] if fitted else None,
                "came": fitted["base_rate"][primary] if fitted else None,
                "test_said": float(np.asarray(result.test_probability)[newest].mean()),
                "test_came": float(evidence.labels[newest].mean()),
            }
        )
    return {"models": models, "churn": snapshot.churn[last]}


def _windows(
    snapshot: Snapshot, comparison: Mapping[str, Any], evidence: Evidence, best: list[str]
) -> list[dict[str, Any]]:
    """Each window of the comparison, with the share that churned in its slices and the best models' log loss in it."""
    losses = {
        result.name: example_log_loss(evidence.labels, result.test_probability)
        for result in evidence.results
        if result.name in best
    }
    return [
        {
            **window,
            "churn": snapshot.churn[number],
            "log_loss": {name: float(losses[name][evidence.window == number].mean()) for name in best},
        }
        for number, window in enumerate(comparison["windows"])
    ]


def _slices(seed: int, snapshot: Snapshot, evidence: Evidence, best: list[str]) -> tuple[Subgroup, ...]:
    if len(best) < 2:
        return ()
    said = {result.name: result.test_probability for result in evidence.results}
    return subgroup_differences(
        {
            dimension: {name: evidence.of_examples(mask) for name, mask in named.items()}
            for dimension, named in subgroups(snapshot.test().aggregates, snapshot.seen_in_training()).items()
        },
        evidence.labels,
        said[best[0]],
        said[best[1]],
        customer_weights(evidence.customer_id, SUBGROUP_REPLICATES, seed),
    )
