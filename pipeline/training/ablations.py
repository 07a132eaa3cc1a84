"""Is it time? By how much a model's log loss changes when its histories are altered, or its state is taken away: of the
model as it was trained, and of its recipe trained on histories that are altered in the same way.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import Floats, Integers
from models.base import Model
from models.evaluation.ablation import ABLATIONS, ablations, alteration, with_own_histories
from models.evaluation.intervals import customer_weights, mean
from models.evaluation.metrics import example_log_loss
from models.held_out import CalibrationChoice, Parts, calibrate
from models.spec import BETWEEN_SEEDS
from pipeline.config.sections import Evidence as Settings
from pipeline.training.evidence import Evidence

MOST_EXAMPLES = 3_000  # of a window's test that are predicted again from altered histories
REPLICATES = 500
RETRAINED_SEEDS = 3
WITHOUT_STATE, AS_IT_IS = "without the state", "as it is"
SCHEMA = pa.schema(
    [
        ("window", pa.int64()),
        ("altered", pa.string()),
        ("retrained", pa.int64()),
        ("row", pa.int64()),
        ("churn_probability", pa.float64()),
    ]
)


def ablation_table(model: Model, parts: Parts, window: int, evidence: Settings, horizon_index: int) -> pa.Table:
    """What `altered/MODEL.parquet` holds of a fitted model on one window: `row` is the position among the window's test
    examples, `retrained` the seed of a recipe that was trained on altered histories, null where the model was not.
    """
    every: list[tuple[str, int | None, np.ndarray, np.ndarray]] = [
        (name, None, rows, probability)
        for name, rows, probability in ablated_predictions(model, parts, evidence.calibration)
    ]
    if evidence.retrained_ablations:
        every += retrained_predictions(model, parts, evidence.calibration)
    tables = [
        pa.table(
            [
                pa.array(np.full(len(rows), window, np.int64)),
                pa.array([name] * len(rows), pa.string()),
                pa.array([seed] * len(rows), pa.int64()),
                pa.array(rows, pa.int64()),
                pa.array(probability[:, horizon_index]),
            ],
            schema=SCHEMA,
        )
        for name, seed, rows, probability in every
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *tables])


def ablated_predictions(
    model: Model, parts: Parts, calibration: CalibrationChoice
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each ablation of a model that was refitted for the test: its name, rows of the test, and what is predicted of
    them, `[rows, horizons]`. The same heads trained without the state stand beside it once, however many networks the
    model averages: what is left is close to a straight line, and its networks say the same.
    """
    rows = tested_rows(parts)
    examples = with_own_histories(parts.test.select(rows))
    for name, sequences in ablations(examples, model.random_state):
        predictions = model.predict_reading(examples, sequences)
        if predictions is None:
            break
        yield name, rows, predictions.churn_probability
    bare = model.without_state()
    if bare is not None:
        bare.fit(parts.train, parts.valid)
        calibrate(bare, calibration, parts)
        refit = type(bare)(bare.horizons, bare.random_state, **bare.parameters)
        refit.fit(parts.known, None)
        refit.calibration = bare.calibration
        yield WITHOUT_STATE, np.arange(len(parts.test)), refit.predict(parts.test).churn_probability


def retrained_predictions(
    model: Model, parts: Parts, calibration: CalibrationChoice
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Each ablation of a model's recipe, fitted with `RETRAINED_SEEDS` seeds on altered histories: its name, the seed
    counted from 0, rows of the test, and what is predicted of them, `[rows, horizons]`. The recipe trained on histories
    that are examples' own and not altered (`AS_IT_IS`) is what they are held against.
    """
    rows = tested_rows(parts)
    examples = parts.test.select(rows)
    for seed in range(RETRAINED_SEEDS):
        random_state = model.random_state + BETWEEN_SEEDS * seed
        seeded = type(model)(model.horizons, random_state, **model.recipe_of(model.parameters))
        trained = {name: seeded.altered(alteration(name, random_state)) for name in (None, *ABLATIONS)}
        if trained[None] is None:  # it reads no events in order, or is a pool of such as do
            return
        for name, bare in {**trained, WITHOUT_STATE: seeded.without_state()}.items():
            if bare is not None:
                bare.fit(parts.train, parts.valid)
                calibrate(bare, calibration, parts)
                yield name or AS_IT_IS, seed, rows, bare.predict(examples).churn_probability


def tested_rows(parts: Parts) -> Integers:
    """The positions of up to `MOST_EXAMPLES` test examples, spread evenly."""
    most = min(len(parts.test), MOST_EXAMPLES)
    return np.unique(np.linspace(0, len(parts.test) - 1, most).astype(np.int64))


def with_changes(comparison: dict[str, Any], evidence: Evidence, random_state: int) -> dict[str, Any]:
    """The comparison's JSON with `log_loss_change` for every model: for each ablation, log loss when ablated minus log
    loss as it is, on the same examples of the first seed, customers resampled. Positive where the model had learnt from
    what was taken away; models that read no sequences have none. `log_loss_change_retrained` is the same of the recipe
    trained on altered histories, minus that trained on its own, over `RETRAINED_SEEDS` seeds: positive where what was
    taken away cannot be had from the rest. It is empty where nothing was trained for it.
    """
    test = evidence.test
    first = test.seed == 0
    begins = np.searchsorted(test.window[first], np.arange(test.window.max(initial=0) + 1))
    changes: dict[str, dict[str, dict[str, Any]]] = {}
    for result in evidence.results:
        table = evidence.ablations[result.name]
        if "retrained" not in table.column_names:  # as results of before are
            table = table.append_column("retrained", pa.nulls(len(table), pa.int64()))
        losses = dict(_losses(table, begins, test.labels))
        untouched = example_log_loss(test.labels[first], np.asarray(result.test_probability)[first])
        fitted, retrained = dict[str, Any](), dict[str, Any]()
        for (name, again), (rows, loss) in losses.items():
            baseline = losses[AS_IT_IS, True][1] if again else untouched[rows]
            weights = customer_weights(test.customer_id[rows], REPLICATES, random_state)
            if name != AS_IT_IS:
                (retrained if again else fitted)[name] = asdict(mean(loss - baseline, weights))
        changes[result.name] = {"log_loss_change": fitted, "log_loss_change_retrained": retrained}
    models = [model | changes.get(model["name"], {}) for model in comparison["models"]]
    return comparison | {"models": models}


def _losses(table: pa.Table, begins: Integers, labels: Floats) -> Iterator[tuple[tuple[str, bool], Any]]:
    """Of each ablation, by its name and whether it was trained for: the rows of the test, and the loss of each."""
    for again in (False, True):
        of_kind = table.filter(pc.is_valid(table["retrained"]) if again else pc.is_null(table["retrained"]))
        for name in pc.unique(of_kind["altered"]).to_pylist():
            ablated = of_kind.filter(pc.equal(of_kind["altered"], name))
            rows = begins[ablated["window"].to_numpy()] + ablated["row"].to_numpy()
            yield (name, again), (rows, example_log_loss(labels[rows], ablated["churn_probability"].to_numpy()))
