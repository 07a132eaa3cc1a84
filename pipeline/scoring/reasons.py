"""The reasons of those most at risk on a night, and of those who rose most since the one before, in words."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from features.aggregates.definitions import WINDOWS
from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.question import Question
from models.base import Model
from models.explanation.attributions import BASELINE, attributions
from models.explanation.reasons import figures, reasons
from pipeline.scoring.predict import ScoredNight

RISEN = 100  # customers, as many as the pages list


def reasons_of_night(
    model: Model, scored: ScoredNight, question: Question, rows: Integers, read: Callable[[pa.Array], Dataset]
) -> list[str | None]:
    """The reasons of the customers at these `rows`, ascending, at the primary horizon; None for the others. `read`
    gives the examples of some customers, in their order; it is called where `scored` has none.
    """
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
        texts = reasons_of(model, chosen, question.primary_index, population)
        for row, text in zip(rows.tolist(), texts, strict=True):
            all_reasons[row] = text
    return all_reasons


def most_at_risk(risk: Floats, recency: Floats, share: float) -> Integers:
    """The positions of the share most at risk, ascending, in the order of the rank: probability, recency, id."""
    wanted = math.ceil(share * len(risk) - 1e-9)
    order = np.lexsort((np.arange(len(risk)), recency, risk))[::-1]
    return np.sort(order[:wanted]).astype(np.int64)


def most_risen(change: Floats) -> Integers:
    """The positions of the `RISEN` whose risk rose most, ascending. `change` is NaN where there is none."""
    rose = np.flatnonzero(change > 0)
    return np.sort(rose[np.argsort(-change[rose], kind="stable")][:RISEN]).astype(np.int64)


def with_windows_left(reasons: list[str | None], rows: Integers, recency: Floats, days: int) -> list[str | None]:
    """`reasons`, those of `rows` with a word on the window of the aggregates that the customer's last event has left
    within the last `days`: a model that reads them moves at once, on that day, by what it learned of an empty window.
    """
    noted = reasons.copy()
    for row in rows.tolist():
        for window in WINDOWS:
            if window <= recency[row] < window + days:
                words = f"the last event has just left the {window} days that the model counts"
                noted[row] = "; ".join(filter(None, (noted[row], words)))
    return noted


def reasons_of(model: Model, chosen: Dataset, horizon_index: int, population: Dataset) -> list[str | None]:
    """For each example of `chosen` its reasons, joined by `; `; None where nothing raises the risk above that of an
    average customer of `population`.
    """
    sentences = reasons(attributions(model, chosen, horizon_index, population), figures(chosen))
    return ["; ".join(of_example) or None for of_example in sentences]
