"""What a registered model makes of all customers: what moves their risk, and how risk changes with the silence; to
MLflow and to the analysts.
"""

import json
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, insert

from features.dataset import Dataset
from models.base import Model
from models.explanation.attributions import attributions, sample
from models.explanation.global_importance import by_recency, figure, importance_of_groups, to_json
from pipeline.config.settings import Settings
from pipeline.serving.database import open_predictions
from pipeline.serving.tables import global_importance, recency
from pipeline.training.tracking import Run

LATEST_CUTOFFS, CUSTOMERS = 4, 400


def what_moves_risk(
    settings: Settings, cutoff: datetime, name: str, model: Model, data: Dataset, run: Run
) -> dict[str, Any]:
    """Asks `model` about the examples of the last `LATEST_CUTOFFS` of `data` at the primary horizon (what moves a
    sample of `CUSTOMERS` of them), whose outcomes it has learned from: this tells of the model, and is no evidence of
    how good it is. Writes it to the run (`explanation/`) and to the views `what_moves_risk` and `risk_by_silence`.
    """
    place = settings.question.horizons.index(settings.question.primary)
    latest = data.select(np.isin(data.cutoff, np.unique(data.cutoff)[-LATEST_CUTOFFS:]))
    assert latest.labels is not None
    latest = latest.select(np.isfinite(latest.labels.churn[:, place]))
    assert latest.labels is not None
    driven = importance_of_groups(attributions(model, sample(latest, CUSTOMERS), place, latest))
    stretches = by_recency(
        latest.aggregates["days_since_last_event"].to_numpy(),
        model.predict(latest).churn_probability[:, place],
        latest.labels.churn[:, place],
    )
    content = to_json(driven, stretches)
    run.text(json.dumps(content, indent=2), "explanation/what_moves_risk.json")
    run.figure(figure(driven, stretches), "explanation/what_moves_risk.png")
    key = {"cutoff": cutoff.date(), "model_name": name}
    with open_predictions(settings.predictions, settings.root).writing() as connection:
        for table, rows in ((global_importance, content["drivers"]), (recency, content["by_silence"])):
            connection.execute(delete(table).where(table.c.cutoff == cutoff.date(), table.c.model_name == name))
            if rows:
                connection.execute(insert(table), [key | row for row in rows])
    return content
