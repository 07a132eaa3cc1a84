"""The comparison as a page that a person reads: the verdict, every figure with its interval, and the pictures, in one
HTML file that needs nothing else.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from features.dataset import Dataset
from models.evaluation.ablation import ALTERED
from models.evaluation.details import DETAILS
from models.evaluation.intervals import customer_weights
from models.evaluation.metrics import METRICS, example_log_loss
from models.evaluation.paired import paired_differences
from models.evaluation.subgroups import Slice, members, sliced_difference
from models.evaluation.values import VALUE_METRICS
from pipeline.config.settings import Settings
from pipeline.training.evidence import Evidence
from pipeline.training.fits import WITHOUT_STATE
from pipeline.training.snapshot import seen_in_training, test_of

TEMPLATE = Path(__file__).with_suffix(".html")
REPLICATES = 1000


def comparison_report(
    settings: Settings,
    data: Dataset,
    meta: dict[str, Any],
    comparison: Mapping[str, Any],
    evidence: Evidence,
    pictures: Mapping[str, bytes],
) -> str:
    """The page. `data` and `meta` are the snapshot, whose test examples come in the order of `evidence`; `pictures` are
    PNG.
    """
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
        cutoff=meta["cutoff"][:10],
        horizon=settings.question.primary,
        question=meta["question"],
        comparison=comparison,
        remarks=meta["remarks"],
        metrics=METRICS,
        details=DETAILS,
        value_metrics=VALUE_METRICS,
        altered={**ALTERED, WITHOUT_STATE: "the same heads on the same aggregates, trained without the state"},
        calibration=_calibration(settings, meta, evidence),
        contact_cost=settings.evidence.contact_cost,
        paired=paired_differences(evidence.results, evidence.labels, weights, reference) if reference else (),
        best=best,
        windows=_windows(meta, comparison, evidence, best),
        slices=_slices(settings, data, meta, evidence, best),
        pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
    )


def _calibration(settings: Settings, meta: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """How the base rate moved in the latest window, and by how much each model's mean prediction was moved after it."""
    last = int(evidence.window.max(initial=0))
    newest = evidence.window == last
    models = []
    for result in evidence.results:
        fitted = evidence.calibration[result.name]
        primary = settings.question.horizons.index(settings.question.primary)
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
    churn = meta["windows"][last]["churn"]
    return {"models": models, "churn": churn}


def _windows(
    meta: Mapping[str, Any], comparison: Mapping[str, Any], evidence: Evidence, best: list[str]
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
            "churn": meta["windows"][number]["churn"],
            "log_loss": {name: float(losses[name][evidence.window == number].mean()) for name in best},
        }
        for number, window in enumerate(comparison["windows"])
    ]


def _slices(
    settings: Settings, data: Dataset, meta: dict[str, Any], evidence: Evidence, best: list[str]
) -> tuple[Slice, ...]:
    if len(best) < 2:
        return ()
    seen = [seen_in_training(data, meta, "test", number) for number in range(len(meta["windows"]))]
    said = {result.name: result.test_probability for result in evidence.results}
    return sliced_difference(
        {
            dimension: {name: evidence.of_examples(mask) for name, mask in named.items()}
            for dimension, named in members(test_of(data, meta).aggregates, np.concatenate(seen)).items()
        },
        evidence.labels,
        evidence.customer_id,
        said[best[0]],
        said[best[1]],
        settings.run.seed,
    )
