"""The two files of a scored night: `scored`, which publishing reads, and `not_scored`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.arrays import Floats
from features.question import Question
from models.base import Predictions
from models.survival import curve_days, days_to_ask, through
from pipeline.runtime.described import described
from pipeline.runtime.paths import atomically
from pipeline.scoring.predict import ScoredNight
from pipeline.training.registry import Version

REPETITIVE = ["horizon_days", "reasons", "model_name", "model_version", "run_id", "question_digest"]
CURVE_DIGITS = 4  # of a probability: a curve is drawn, and that of a horizon is published in full
NOT_SCORED = pa.schema([("customer_id", pa.string()), ("days_since_last_event", pa.float64()), ("reason", pa.string())])


def write_scored(
    path: Path, scored: ScoredNight, reasons: list[str | None], champion: Version, question: Question
) -> None:
    """One row an eligible customer and horizon, in that order, with the customer's `reasons` at the primary horizon; at
    the longest one with the survival curve.
    """
    horizons, customers = question.horizons, len(scored.customers)
    customer = pa.array(np.repeat(np.arange(customers), len(horizons)))

    def flat(values: Floats | None) -> pa.Array:
        return pa.nulls(len(customer), pa.float64()) if values is None else pa.array(values.ravel(), pa.float64())

    row = np.arange(customers * len(horizons))
    longest = row % len(horizons) == np.argmax(horizons)
    curve = _curves(scored.predictions, question).take(pa.array(row // len(horizons), mask=~longest))

    def constant(value: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(customer), np.int32)), pa.array([value]))

    table = pa.table(
        {
            "customer_id": scored.customers.take(customer),
            "horizon_days": pa.array(np.tile(np.asarray(horizons, np.int64), customers)),
            "churn_probability": flat(scored.predictions.churn_probability),
            "expected_purchases": flat(scored.predictions.expected_purchases),
            "expected_spend": flat(scored.predictions.expected_spend),
            "reasons": pa.array(reasons, pa.string()).take(customer),
            "days_since_last_event": pa.array(scored.recency).take(customer),
            "model_name": constant(champion.name),
            "model_version": constant(str(champion.number)),
            "run_id": constant(champion.run_id),
            "question_digest": constant(champion.question_digest),
            "curve": curve,
        }
    )
    if list(horizons) != sorted(horizons):
        table = table.sort_by([("customer_id", "ascending"), ("horizon_days", "ascending")])
    with described(path.parent, path.name) as file:
        # Without the schema of the table, whose codes are text in the file.
        pq.write_table(table, file, use_dictionary=REPETITIVE, store_schema=False)


def _curves(predictions: Predictions, question: Question) -> pa.Array:
    """[customers] JSON arrays of the probability of no event before each of the `curve_days` of the longest horizon,
    through the published probabilities; null where `predictions` have no survival.
    """
    days = days_to_ask(question)
    if predictions.survival is None or days is None:
        return pa.nulls(len(predictions.churn_probability), pa.string())
    curve = through(predictions.churn_probability, question.horizons, predictions.survival, days)
    curve = np.round(curve[:, np.isin(days, curve_days(max(question.horizons)))], CURVE_DIGITS)
    values = pa.FixedSizeListArray.from_arrays(pa.array(curve.ravel()).cast(pa.string()), curve.shape[1])
    return pc.binary_join_element_wise("[", pc.binary_join(values.cast(pa.list_(pa.string())), ","), "]", "")


def write_not_scored(path: Path, scored: ScoredNight, question: Question) -> None:
    """One row a known customer who is not eligible, with the reason."""
    told_apart = question.activity or question.comes_back_with or question.ends_with
    what = "ended, or no activity" if told_apart else "no event"
    reason = f"{what} in the {question.active_within} days before the cutoff"
    customers, recency = scored.not_eligible, pa.array(scored.not_eligible_recency)
    with atomically(path) as file:
        pq.write_table(pa.table([customers, recency, pa.repeat(reason, len(customers))], schema=NOT_SCORED), file)
