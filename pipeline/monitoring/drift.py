"""What can be said of a night's scores before their horizon closes: how far its inputs and scores have drifted from
those of training, and how well it should do if its probabilities are right.

Training is the latest test period of its snapshot. What only grows as a history does (the time since the first event,
totals over a lifetime) is left out: it moves by itself.

The inputs are the aggregates of a sample of the night's customers, computed as training computes them. So a champion
that reads no aggregates is monitored too, at a cost that does not grow with the number of customers.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import delete, insert, select

from features.aggregates.calendar import WORDS as CALENDAR
from models.evaluation.drift import expected_performance, stability_index
from models.evaluation.intervals import Interval
from pipeline.config.settings import Settings
from pipeline.datasets.dataset_files import aggregates_at, way_back
from pipeline.runtime.described import whole
from pipeline.runtime.nights import Night
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.query import carried_aggregates
from pipeline.scoring.whole_histories import read_examples
from pipeline.serving.database import PredictionsStore
from pipeline.serving.tables import comparison_metric, monitored, prediction
from pipeline.training.registry import Version
from pipeline.training.snapshot import read_meta, windows_of

SAMPLE, SAMPLE_OF_TRAINING = 1_000, 20_000
GROWS_BY_ITSELF = re.compile(r"days_since_first_event|\w+_total|\w+_max")
DRIFT, EXPECTED, SCORE = "drift", "expected", "score"
UNKNOWN = Interval(None, None, None)


def monitor(settings: Settings, predictions: PredictionsStore, champion: Version | None, night: Night) -> None:
    """Replaces the night's rows of `monitoring`; none where it is not published or there is no champion."""
    horizon, columns = settings.question.primary, prediction.c
    of_the_night = (columns.score_date == night.score_date) & (columns.horizon_days == horizon)
    query = select(columns.customer_id, columns.churn_probability).where(of_the_night).order_by(columns.customer_id)
    with predictions.reading() as connection:
        scored = connection.execute(query).tuples().all()
    if champion is None or not scored:
        return
    probability = np.array([value for _, value in scored])
    reference = reference_metrics(predictions, champion)
    rows: list[dict[str, Any]] = [
        {"kind": EXPECTED, "name": name, "value": _finite(value), "reference": reference.get(name, UNKNOWN).value}
        for name, value in expected_performance(probability).items()
    ]
    customers = [scored[row][0] for row in _evenly(len(scored), SAMPLE)]
    snapshot = settings.state.snapshot(champion.trained_until)
    drift = _score_drift(snapshot, champion.name, horizon, probability)
    if (training := _of_training(snapshot)) is not None:
        drift |= _input_drift(training, _aggregates(ScoringInputs.open(settings), night, champion, customers))
    rows += [
        {"kind": DRIFT, "name": name, "value": _finite(value), "reference": settings.review.max_drift}
        for name, value in drift.items()
    ]
    with predictions.writing() as connection:
        connection.execute(delete(monitored).where(monitored.c.score_date == night.score_date))
        connection.execute(insert(monitored), [{"score_date": night.score_date, **row} for row in rows])


def reference_metrics(predictions: PredictionsStore, champion: Version) -> dict[str, Interval]:
    """The test metrics of the champion's recipe in the comparison of its training; empty where there is none."""
    columns = comparison_metric.c
    of_champion = (columns.cutoff == champion.trained_until.date()) & (columns.model_name == champion.name)
    with predictions.reading() as connection:
        rows = connection.execute(select(columns.metric, columns.value, columns.low, columns.high).where(of_champion))
        return {metric: Interval(value, low, high) for metric, value, low, high in rows}


def _score_drift(folder: Path, model: str, horizon: int, probability: np.ndarray) -> dict[str, float]:
    """Of the churn probabilities, from those on the test; empty where the snapshot is gone."""
    name = f"predictions/{model}.parquet"
    if not folder.exists():
        return {}
    file = whole(folder, name, way_back(folder))
    if not file.exists():
        return {}
    table = pq.read_table(file, columns=["slice", "horizon_days", "churn_probability"])
    test = pc.and_(pc.equal(table["slice"], "test"), pc.equal(table["horizon_days"], horizon))
    return {SCORE: stability_index(table.filter(test)["churn_probability"].to_numpy(), probability)}


def _input_drift(training: pa.Table, now: pd.DataFrame) -> dict[str, float]:
    return {
        name: stability_index(training[name].to_numpy(), now[name].to_numpy())
        for name in now
        if name in training.column_names and not GROWS_BY_ITSELF.fullmatch(name) and name not in CALENDAR
    }


def _of_training(folder: Path) -> pa.Table | None:
    """The aggregates of the latest test period, at most `SAMPLE_OF_TRAINING` rows; None where the snapshot is gone."""
    if (content := read_meta(folder)) is None:
        return None
    rows = aggregates_at(folder, windows_of(content)[-1].test)
    return rows.take(_evenly(len(rows), SAMPLE_OF_TRAINING))


def _evenly(rows: int, most: int) -> np.ndarray:
    """At most `most` of so many row numbers, evenly spread."""
    size = min(most, rows)
    return np.arange(size) * rows // max(size, 1)


def _aggregates(inputs: ScoringInputs, night: Night, champion: Version, customers: list[str]) -> pd.DataFrame:
    """As training builds them: from the sums that the champion carries, or where it carries none, from events."""
    sample = pa.array(customers, pa.string())
    carried = carried_aggregates(inputs, champion, night.cutoff, sample)
    return read_examples(inputs, night.cutoff, sample).aggregates if carried is None else carried


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
