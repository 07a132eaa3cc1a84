"""A world in which a straight line on the aggregates is the truth: whether a customer comes in the next 28 days follows
from the logarithms of three aggregates, and from nothing else; when in them, and how often, is chance. Of each occasion
come several events within minutes, so that most times between events tell nothing.
"""

from datetime import timedelta

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from features.question import Question
from features.splits import rolling_origin
from models.numerics import sigmoid
from pipeline.training.snapshot import Snapshot
from tests.support.worlds.made_events import built, moments_after
from tests.support.worlds.null_worlds import ACTIVE_WITHIN, HORIZON, START

PERIODS = 18  # of a horizon each; at the end of each is a cutoff
# The churn logit: LEVEL, and the slopes of log(1 + x) of the days since the last event and of events in two windows.
LEVEL, RECENCY, EVENTS_28, EVENTS_91 = 0.6, 0.5, -0.35, -0.45
OCCASIONS, BURST = 2.0, 6  # the mean of a period in which a customer comes; the most events of one


def straight_line_snapshot(customers: int, seed: int) -> tuple[Snapshot, Floats]:
    """The examples of the world with one forward window, and the true probabilities of the test's churn."""
    random = np.random.default_rng(seed)
    customer, day = _events(random, customers)
    question = Question(active_within=ACTIVE_WITHIN, horizons=(HORIZON,), cutoff_every=HORIZON, calendar=False)
    end = START + timedelta(days=PERIODS * HORIZON)
    cutoffs = question.cutoffs(START, end)
    amount = random.gamma(2.0, 10.0, len(customer)).round(2)
    data = built(customer, moments_after(START, day), {}, amount, (question, cutoffs))
    snapshot = Snapshot(end, question, rolling_origin(cutoffs, question, 1), (), data)
    return snapshot, straight_line_truth(snapshot.parts(0).test)


def straight_line_truth(data: Dataset) -> Floats:
    """[examples]: the probability of churn, of the aggregates at the cutoff."""
    aggregates = data.aggregates
    return _probability(*(aggregates[name].to_numpy() for name in ("days_since_last_event", "events_28", "events_91")))


def _probability(recency: Floats, events_28: Floats, events_91: Floats) -> Floats:
    line = RECENCY * np.log1p(recency) + EVENTS_28 * np.log1p(events_28) + EVENTS_91 * np.log1p(events_91)
    return sigmoid(LEVEL + line)


def _events(random: np.random.Generator, customers: int) -> tuple[np.ndarray, Floats]:
    """Customer and day of every event. Everybody comes in the first two periods, and then as the truth has it."""
    customer, day = np.zeros(0, np.int64), np.zeros(0)
    for period in range(PERIODS):
        begin = period * HORIZON
        since = np.full(customers, -np.inf)
        np.maximum.at(since, customer, day)
        counts = [np.bincount(customer[day >= begin - days], minlength=customers) for days in (28, 91)]
        churns = random.random(customers) < _probability(begin - since, *counts)
        came = np.flatnonzero(~churns) if period > 1 else np.arange(customers)
        occasion = np.repeat(came, 1 + random.poisson(OCCASIONS - 1, len(came)))
        moment = begin + random.uniform(0, HORIZON - 0.1, len(occasion))
        burst = random.integers(1, BURST + 1, len(occasion))
        customer = np.concatenate([customer, np.repeat(occasion, burst)])
        day = np.concatenate([day, np.repeat(moment, burst) + random.uniform(0, 0.02, burst.sum())])
    return customer, day
