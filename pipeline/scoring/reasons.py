"""The reasons of those most at risk on a night, in words."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.question import Question
from models.base import Model
from models.explanation.attributions import BASELINE, attributions
from models.explanation.reasons import figures, reasons
from pipeline.scoring.predict import ScoredNight


def reasons_of_night(
    model: Model, scored: ScoredNight, question: Question, share: float, read: Callable[[pa.Array], Dataset]
) -> list[str | None]:
    """The reasons of the `share` of customers most at risk at the primary horizon; None for the others. `read` gives
    the examples of some customers, in their order; it is called where `scored` has none.
    """
    horizon = question.primary_index
    rows = most_at_risk(scored.predictions.churn_probability[:, horizon], scored.recency, share)
    all_reasons: list[str | None] = [None] * len(scored.customers)
    if len(rows):
        # The customers that others are compared to, evenly spread.
        compared = np.linspace(0, len(all_reasons) - 1, min(len(all_reasons), BASELINE))
        baseline_rows = np.unique(compared.round().astype(np.int64))
        if scored.examples is not None:
            chosen, population = scored.examples.select(rows), scored.examples.select(baseline_rows)
        else:
            union = np.union1d(rows, baseline_rows)
            data = read(scored.customers.take(pa.array(union)))
            chosen, population = (data.select(np.searchsorted(union, some)) for some in (rows, baseline_rows))
        for row, text in zip(rows.tolist(), reasons_of(model, chosen, horizon, population), strict=True):
            all_reasons[row] = text
    return all_reasons


def most_at_risk(risk: Floats, recency: Floats, share: float) -> Integers:
    """The positions of the share most at risk, ascending, in the order of the rank: probability, recency, id."""
    wanted = math.ceil(share * len(risk) - 1e-9)
    order = np.lexsort((np.arange(len(risk)), recency, risk))[::-1]
    return np.sort(order[:wanted]).astype(np.int64)


def reasons_of(model: Model, chosen: Dataset, horizon_index: int, population: Dataset) -> list[str | None]:
    """For each example of `chosen` its reasons, joined by `; `; None where nothing raises the risk above that of an
    average customer of `population`.
    """
    sentences = reasons(attributions(model, chosen, horizon_index, population), figures(chosen))
    return ["; ".join(of_example) or None for of_example in sentences]
