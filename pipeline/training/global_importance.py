"""What moves customers' risk in a registered model, and how risk changes with recency; to MLflow and analysts."""

import json
from typing import Any

import numpy as np
from sqlalchemy import delete, insert

from models.base import Model
from models.explanation.attributions import attributions, sample
from models.explanation.global_importance import by_recency, figure, importance_of_groups, to_json
from pipeline.serving.database import PredictionsStore
from pipeline.serving.tables import global_importance, recency
from pipeline.training.snapshot import Snapshot
from pipeline.training.tracking import Run

LATEST_CUTOFFS, CUSTOMERS = 4, 400


def write_global_importance(
    run: Run, predictions: PredictionsStore, name: str, model: Model, snapshot: Snapshot
) -> dict[str, Any]:
    """Of `model` on the examples of the last `LATEST_CUTOFFS` at the primary horizon, attributed for `CUSTOMERS` of
    them. It has learned from their labels: this describes the model, and is no evidence of how good it is. Goes to the
    run (`explanation/`) and to the views `what_moves_risk` and `risk_by_silence`.
    """
    data, primary = snapshot.data, snapshot.question.primary_index
    latest = data.select(np.isin(data.cutoff, np.unique(data.cutoff)[-LATEST_CUTOFFS:]))
    assert latest.labels is not None
    latest = latest.select(np.isfinite(latest.labels.churn[:, primary]))
    assert latest.labels is not None
    importance = importance_of_groups(attributions(model, sample(latest, CUSTOMERS), primary, latest))
    bins = by_recency(
        latest.aggregates["days_since_last_event"].to_numpy(),
        model.predict(latest).churn_probability[:, primary],
        latest.labels.churn[:, primary],
    )
    content = to_json(importance, bins)
    run.text(json.dumps(content, indent=2), "explanation/what_moves_risk.json")
    run.figure(figure(importance, bins), "explanation/what_moves_risk.png")
    key = {"cutoff": snapshot.cutoff.date(), "model_name": name}
    with predictions.writing() as connection:
        for table, rows in ((global_importance, content["drivers"]), (recency, content["by_silence"])):
            same = (table.c.cutoff == key["cutoff"]) & (table.c.model_name == name)
            connection.execute(delete(table).where(same))
            if rows:
                connection.execute(insert(table), [key | row for row in rows])
    return content
