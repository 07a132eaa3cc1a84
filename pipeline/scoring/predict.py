"""Predictions for everybody eligible at a cutoff, from carried state, carried aggregates, or whole histories."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.time import MICROSECONDS_A_SECOND, SECONDS_A_DAY, microseconds
from models.base import Model, Predictions
from models.survival import days_to_ask
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.query import QueryShard, dataset_without_histories
from pipeline.scoring.state_updater import StateUpdater
from pipeline.scoring.whole_histories import read_night
from pipeline.training.registry import Version


@dataclass(frozen=True)
class ScoredNight:
    """Everybody eligible at a cutoff, in order of customer_id, with their predictions and the days since their last
    event; and the other known customers with theirs. `examples` are there where predictions came from aggregates: see
    `query.dataset_without_histories` for what they lack.
    """

    customers: pa.Array
    recency: Floats
    predictions: Predictions
    not_eligible: pa.Array
    not_eligible_recency: Floats
    examples: Dataset | None = None


def predict_eligible(inputs: ScoringInputs, champion: Version, model: Model, cutoff: datetime) -> ScoredNight:
    """By events with event time < cutoff and known time <= cutoff. Raises RecurError where the night is not loaded."""
    days = days_to_ask(inputs.question)
    if model.needs == "state":
        shards = StateUpdater(inputs, champion, model).predictions(cutoff, days)
        return _scored([query for query, _ in shards], _joined([predicted for _, predicted in shards]), cutoff)
    if model.needs == "aggregates":
        queries = StateUpdater(inputs, champion, model).queries(cutoff)
        examples = dataset_without_histories(queries, inputs.question.horizons)
        # All at once: how a product of matrices is cut moves its last bits.
        predictions = model.predict(examples)
        if days is not None:
            predictions = replace(predictions, survival=model.survival(examples, days))
        return _scored(queries, predictions, cutoff, examples)
    night = read_night(inputs, cutoff)
    return ScoredNight(
        customers=pa.array(night.data.customer_id.tolist(), pa.string()),
        recency=night.data.aggregates["days_since_last_event"].to_numpy(),
        predictions=model.predict(night.data),
        not_eligible=night.not_eligible,
        not_eligible_recency=night.not_eligible_recency,
    )


def _joined(parts: Sequence[Predictions]) -> Predictions:
    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return Predictions(*(column(field.name) for field in fields(Predictions)))


def _scored(
    queries: Sequence[QueryShard], predictions: Predictions, cutoff: datetime, examples: Dataset | None = None
) -> ScoredNight:
    at = microseconds(cutoff) // MICROSECONDS_A_SECOND

    def recency(last: list[Integers]) -> Floats:
        return (at - np.concatenate(last) // MICROSECONDS_A_SECOND) / SECONDS_A_DAY

    return ScoredNight(
        customers=pa.concat_arrays([query.customers for query in queries]),
        recency=recency([query.at_cutoff.last for query in queries]),
        predictions=predictions,
        not_eligible=pa.concat_arrays([query.not_eligible for query in queries]),
        not_eligible_recency=recency([query.not_eligible_last for query in queries]),
        examples=examples,
    )
