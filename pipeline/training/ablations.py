"""Is it time? By how much a model's log loss changes when its histories are altered, or its state is taken away."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from models.evaluation.intervals import Interval, customer_weights, mean
from models.evaluation.metrics import example_log_loss
from pipeline.training.evidence import Evidence

REPLICATES = 500


def changes(evidence: Evidence, seed: int) -> dict[str, dict[str, Interval]]:
    """Model -> alteration -> log loss when altered minus log loss as it is, on the same examples of the first seed,
    customers resampled: positive where the model had learnt from what was taken away. Models that read no sequences
    have none.
    """
    first = evidence.seed == 0
    begins = np.searchsorted(evidence.window[first], np.arange(evidence.window.max(initial=0) + 1))
    found: dict[str, dict[str, Interval]] = {}
    for result in evidence.results:
        table = evidence.altered[result.name]
        said = np.asarray(result.test_probability)[first]
        for what in pc.unique(table["altered"]).to_pylist():
            part = table.filter(pc.equal(table["altered"], what))
            rows = begins[part["window"].to_numpy()] + part["row"].to_numpy()
            labels = evidence.labels[rows]
            change = example_log_loss(labels, part["churn_probability"].to_numpy()) - example_log_loss(
                labels, said[rows]
            )
            weights = customer_weights(evidence.customer_id[rows], REPLICATES, seed)
            found.setdefault(result.name, {})[what] = mean(change, weights)
    return found


def with_changes(comparison: dict[str, Any], evidence: Evidence, seed: int) -> dict[str, Any]:
    """The comparison's JSON with `log_loss_change` for every model that reads sequences."""
    found = changes(evidence, seed)
    models = [
        model | {"log_loss_change": {what: each.to_json() for what, each in found.get(model["name"], {}).items()}}
        for model in comparison["models"]
    ]
    return comparison | {"models": models}
