"""Score a night: predictions for every customer eligible at the cutoff, reasons for those most at risk or risen."""

from functools import partial
from typing import Any

import numpy as np

from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import recorded
from pipeline.runtime.described import remove
from pipeline.runtime.nights import Night
from pipeline.scoring.champion import guarded_champion
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.predict import predict_eligible
from pipeline.scoring.reasons import most_at_risk, most_risen, reasons_of_night, with_windows_left
from pipeline.scoring.score_files import write_not_scored, write_scored
from pipeline.scoring.whole_histories import read_examples
from pipeline.serving.database import open_predictions
from pipeline.serving.night_tables import changes_since, neighbour
from pipeline.training.registry import open_registry


def score(settings: Settings, night: Night) -> dict[str, Any]:
    """Write `scored`: one row a customer eligible at the night's cutoff and horizon, by customer and horizon; and
    `not_scored`: one row any other known customer, with the reason.

    Features use events with event time < cutoff and known time <= cutoff. Raises NothingToDo without a champion, and
    RecurError where the champion knew anything past the cutoff or answers another question, or the night is not loaded.
    """
    path, question = settings.state.scored(night), settings.question
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "score", night) as figures:
        remove(path)  # what an earlier run left must not be published for this one
        registry = open_registry(settings)
        champion = guarded_champion(registry, predictions, night.cutoff)
        inputs = ScoringInputs.open(settings)
        inputs.store.require_loaded(night.cutoff)
        model = registry.load(champion)
        scored = predict_eligible(inputs, champion, model, night.cutoff)
        read = partial(read_examples, inputs, night.cutoff)
        risk = scored.predictions.churn_probability[:, question.primary_index]
        with predictions.reading() as connection:
            before = neighbour(connection, night.score_date, earlier=True)
            risen = most_risen(changes_since(connection, before, question.primary, scored.customers, risk))
        rows = np.union1d(most_at_risk(risk, scored.recency, settings.serving.reasons_share), risen)
        reasons = reasons_of_night(model, scored, question, rows, read)
        if before is not None and "aggregates" in model.views:
            reasons = with_windows_left(reasons, risen, scored.recency, (night.score_date - before).days)
        write_not_scored(settings.state.not_scored(night), scored, question)
        write_scored(path, scored, reasons, champion, question)
        figures["rows_scored"] = len(scored.customers)
        figures["message"] = champion.label
    return {"rows_scored": len(scored.customers), "model_version": champion.number, "model_name": champion.name}
