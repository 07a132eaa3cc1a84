"""Why those most at risk on a night are so: which customers have reasons written, and what these say."""

import math

import numpy as np

from features.dataset import Dataset, Floats, Integers
from models.contract import Model, Predictions
from models.evidence.attributions import attributions
from models.evidence.reasons import figures, reasons
from pipeline.settings import Settings


def reasons_of_a_night(settings: Settings, model: Model, data: Dataset, predictions: Predictions) -> list[str | None]:
    """The reasons, in words, of the share `serving.reasons_share` most at risk at the primary horizon, whether new to
    it tonight or not; None for the others.
    """
    place = settings.question.horizons.index(settings.question.primary)
    risk, silence = predictions.churn_probability[:, place], data.aggregates["days_since_last_event"].to_numpy()
    rows = most_at_risk(risk, silence, data.customer_id, settings.serving.reasons_share)
    words: list[str | None] = [None] * len(data)
    if len(rows):
        told = reasons_of(model, data.select(rows), place, data)
        for row, sentences in zip(rows.tolist(), told, strict=True):
            words[row] = sentences
    return words


def most_at_risk(risk: Floats, silence: Floats, customer_id: np.ndarray, share: float) -> Integers:
    """The positions, ascending, of the share most at risk. They stand in the order of the published rank: probability,
    then silence, then the id.
    """
    wanted = math.ceil(share * len(risk) - 1e-9)
    order = np.lexsort((customer_id.astype(str), silence, risk))[::-1]
    return np.sort(order[:wanted]).astype(np.int64)


def reasons_of(model: Model, chosen: Dataset, horizon_index: int, population: Dataset) -> list[str | None]:
    """For each example of `chosen` its reasons, joined by `; `; None where nothing raises the risk above that of a
    customer who is ordinary in `population`.
    """
    told = reasons(attributions(model, chosen, horizon_index, population), figures(chosen))
    return ["; ".join(sentences) or None for sentences in told]
