"""Is it time? By how much a model's log loss changes when its histories are altered, or its state is taken away."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.base import Model
from models.evaluation.ablation import ablations, with_own_histories
from models.evaluation.intervals import customer_weights, mean
from models.evaluation.metrics import example_log_loss
from models.held_out import CalibrationChoice, Parts, calibrate
from pipeline.training.evidence import Evidence

MOST_EXAMPLES = 3_000  # of a window's test that are predicted again from altered histories
REPLICATES = 500
WITHOUT_STATE = "without the state"
SCHEMA = pa.schema(
    [("window", pa.int64()), ("altered", pa.string()), ("row", pa.int64()), ("churn_probability", pa.float64())]
)


def ablated_predictions(
    model: Model, parts: Parts, calibration: CalibrationChoice, random_state: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each ablation of a fitted model: its name, rows of the test, and what is predicted of them, `[rows, horizons]`.
    The same heads trained without the state stand beside it once, however many networks the model averages: what is
    left is close to a straight line, and its networks say the same.
    """
    rows = np.unique(np.linspace(0, len(parts.test) - 1, min(len(parts.test), MOST_EXAMPLES)).astype(np.int64))
    examples = with_own_histories(parts.test.select(rows))
    for name, sequences in ablations(examples, random_state):
        predictions = model.predict_reading(examples, sequences)
        if predictions is None:
            break
        yield name, rows, predictions.churn_probability
    bare = model.without_state()
    if bare is not None:
        bare.fit(parts.train, parts.valid)
        calibrate(bare, calibration, parts)
        yield WITHOUT_STATE, np.arange(len(parts.test)), bare.predict(parts.test).churn_probability


def ablation_rows(window: int, name: str, rows: np.ndarray, probability: np.ndarray) -> pa.Table:
    """What `altered/MODEL.parquet` holds of one ablation: `row` is the position among the window's test examples."""
    columns = [np.full(len(rows), window, np.int64), [name] * len(rows), rows, probability]
    return pa.table([pa.array(column) for column in columns], schema=SCHEMA)


def with_changes(comparison: dict[str, Any], evidence: Evidence, random_state: int) -> dict[str, Any]:
    """The comparison's JSON with `log_loss_change` for every model: for each ablation, log loss when ablated minus log
    loss as it is, on the same examples of the first seed, customers resampled. Positive where the model had learnt from
    what was taken away; models that read no sequences have none.
    """
    test = evidence.test
    first = test.seed == 0
    begins = np.searchsorted(test.window[first], np.arange(test.window.max(initial=0) + 1))
    by_model: dict[str, dict[str, Any]] = {}
    for result in evidence.results:
        table = evidence.ablations[result.name]
        probability = np.asarray(result.test_probability)[first]
        for name in pc.unique(table["altered"]).to_pylist():
            ablated = table.filter(pc.equal(table["altered"], name))
            rows = begins[ablated["window"].to_numpy()] + ablated["row"].to_numpy()
            labels = test.labels[rows]
            change = example_log_loss(labels, ablated["churn_probability"].to_numpy()) - example_log_loss(
                labels, probability[rows]
            )
            weights = customer_weights(test.customer_id[rows], REPLICATES, random_state)
            by_model.setdefault(result.name, {})[name] = asdict(mean(change, weights))
    models = [model | {"log_loss_change": by_model.get(model["name"], {})} for model in comparison["models"]]
    return comparison | {"models": models}
