"""The comparison as a page that a person reads: the verdict, every figure with its interval, and the pictures, in one
HTML file that needs nothing else.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.dataset import Dataset
from models.evidence.intervals import customer_weights
from models.evidence.metrics import METRICS, example_log_loss
from models.evidence.paired import paired_differences
from models.evidence.slices import Slice, members, sliced_difference
from pipeline.evidence import Evidence
from pipeline.settings import Settings
from pipeline.snapshot import seen_in_training, test_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_suffix(".html")
REPLICATES = 1000
DOTS_AN_INCH = 80


def comparison_report(
    settings: Settings,
    data: Dataset,
    meta: dict[str, Any],
    comparison: Mapping[str, Any],
    evidence: Evidence,
    pictures: "Mapping[str, Figure]",
) -> str:
    """The page. `data` and `meta` are the snapshot, whose test examples come in the order of `evidence`."""
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
        paired=paired_differences(evidence.results, evidence.labels, weights, reference) if reference else (),
        best=best,
        windows=_windows(meta, comparison, evidence, best),
        slices=_slices(settings, data, meta, evidence, best),
        pictures={name: _inline(figure) for name, figure in pictures.items()},
    )


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
        members(test_of(data, meta).aggregates, np.concatenate(seen)),
        evidence.labels,
        evidence.customer_id,
        said[best[0]],
        said[best[1]],
        settings.run.seed,
    )


def _inline(figure: "Figure") -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_AN_INCH)
    return base64.b64encode(content.getvalue()).decode()
