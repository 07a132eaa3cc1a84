"""Why those most at risk on a night are so: which customers have reasons written, and what these say."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.dataset import Dataset, Floats, Integers
from models.base import Model, Predictions
from models.explanation.attributions import ORDINARY, attributions
from models.explanation.reasons import figures, reasons
from pipeline.config.settings import Settings


class Said(Protocol):
    """What a model says of everybody eligible, in order of customer_id; the silence in days; and the examples, without
    their histories, of a model that reads none.
    """

    @property
    def customers(self) -> pa.Array: ...
    @property
    def silence(self) -> Floats: ...
    @property
    def predictions(self) -> Predictions: ...
    @property
    def data(self) -> Dataset | None: ...


def reasons_of_a_night(
    settings: Settings, model: Model, said: Said, read: Callable[[pa.Array], Dataset]
) -> list[str | None]:
    """The reasons, in words, of the share `serving.reasons_share` most at risk at the primary horizon, whether new to
    it tonight or not; None for the others. `read` gives the examples of some customers, in their order, and is asked
    where the model reads their histories.
    """
    place = settings.question.horizons.index(settings.question.primary)
    rows = most_at_risk(said.predictions.churn_probability[:, place], said.silence, settings.serving.reasons_share)
    words: list[str | None] = [None] * len(said.customers)
    if len(rows):
        usual = ordinary(len(words))
        if said.data is not None:
            chosen, population = said.data.select(rows), said.data.select(usual)
        else:
            both = np.union1d(rows, usual)
            data = read(said.customers.take(pa.array(both)))
            chosen, population = (data.select(np.searchsorted(both, part)) for part in (rows, usual))
        told = reasons_of(model, chosen, place, population)
        for row, sentences in zip(rows.tolist(), told, strict=True):
            words[row] = sentences
    return words


def ordinary(customers: int) -> Integers:
    """The positions of those who stand for everybody: of up to ORDINARY customers all, else so many, evenly."""
    return np.unique(np.linspace(0, customers - 1, min(customers, ORDINARY)).round().astype(np.int64))


def most_at_risk(risk: Floats, silence: Floats, share: float) -> Integers:
    """The positions, ascending, of the share most at risk. They stand in the order of the published rank: probability,
    then silence, then the id, which is that of the positions.
    """
    wanted = math.ceil(share * len(risk) - 1e-9)
    order = np.lexsort((np.arange(len(risk)), silence, risk))[::-1]
    return np.sort(order[:wanted]).astype(np.int64)


def reasons_of(model: Model, chosen: Dataset, horizon_index: int, population: Dataset) -> list[str | None]:
    """For each example of `chosen` its reasons, joined by `; `; None where nothing raises the risk above that of a
    customer who is ordinary in `population`.
    """
    told = reasons(attributions(model, chosen, horizon_index, population), figures(chosen))
    return ["; ".join(sentences) or None for sentences in told]
