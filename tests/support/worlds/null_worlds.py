"""Null worlds: their true probabilities are known, and nothing in them is in time.

Counts, recency, age and the calendar hold all that there is to know of a customer: an order of events or a rhythm
tells nothing more. So what is found of one side's being better must come from how well it fits, and whether it is
better follows from the truth.

`truth` is the probability of churn given all that either side can know at a cutoff: the expectation over what nobody
can see, the latent traits of a customer included. It is not the one given the traits, which would count the luck of
their draw as knowledge: the expected difference of two fits, whose predictions are functions of what can be seen, is
the one under `truth`, and a decision that the luck of this test has made is false by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from features.arrays import Floats, Integers
from features.dataset import Dataset
from features.question import Question
from features.sequences.encoding import StateAtCutoff
from features.splits import rolling_origin
from features.time import MICROSECONDS_A_DAY, microseconds
from pipeline.training.snapshot import Snapshot
from tests.support.worlds.made_events import built, moments_after

START = datetime(2021, 1, 4, tzinfo=UTC)  # a Monday
HORIZON, ACTIVE_WITHIN = 28, 91
PERIOD = 14  # days over which the rate of "counts only" stands still; cutoffs lie between two periods
YEAR = 365.25
ARRIVALS = 0.6  # of the span, over which customers come

# Gamma(R, ALPHA) are the rates a day of "BG/NBD" and "memoryless", Beta(A, B) the probability of leaving for good after
# a purchase but the first.
R, ALPHA, A, B = 0.9, 12.0, 0.8, 5.0
# A day's rate in "counts only" is LEAST + SHARE of the mean a day over the 28 days before the period.
LEAST, SHARE = 0.012, 0.8
# A day's rate in "season" swings around MEAN by SWING of it.
MEAN, SWING = 0.04, 0.9

Events = tuple[Integers, Floats]  # customer and days after START, [events]


@dataclass(frozen=True)
class NullWorld:
    """`events(random, customers, days)` are those of `[0, days)`; `truth(data)` is [examples]."""

    events: Callable[[np.random.Generator, int, int], Events]
    truth: Callable[[Dataset], Floats]
    least_days: int = 0  # for what there is to be learnt: a season takes years
    calendar: bool = False  # whether the question asks for the calendar, for both sides


@dataclass(frozen=True)
class Size:
    """How many customers there are, over how many days, and how many days lie between cutoffs."""

    customers: int
    days: int
    cutoff_every: int


def null_snapshot(name: str, size: Size, seed: int) -> Snapshot:
    """The examples of a world with one forward window, split as real data are."""
    world = NULL_WORLDS[name]
    days = max(size.days, world.least_days)
    question = Question(
        active_within=ACTIVE_WITHIN, horizons=(HORIZON,), cutoff_every=size.cutoff_every, calendar=world.calendar
    )
    random = np.random.default_rng(seed)
    customer, day = world.events(random, size.customers, days)
    amount = random.gamma(2.0, 10.0, len(customer)).round(2)
    end = START + timedelta(days=days)
    cutoffs = question.cutoffs(START, end)
    data = built(customer, moments_after(START, day), {}, amount, (question, cutoffs))
    return Snapshot(end, question, rolling_origin(cutoffs, question, 1), (), data)


def memoryless_events(random: np.random.Generator, customers: int, days: int) -> Events:
    """Poisson events from a customer's first on, at a rate of the customer's own for ever."""
    return _renewed(random, np.zeros(customers), days)


def buy_till_you_die_events(random: np.random.Generator, customers: int, days: int) -> Events:
    """The BG/NBD process (Fader, Hardie and Lee, 2005): the same, and after every event but the first a customer leaves
    for good with a probability of the customer's own.
    """
    return _renewed(random, random.beta(A, B, customers), days)


def counts_events(random: np.random.Generator, customers: int, days: int) -> Events:
    """The rate of each period follows from how many events the 28 days before it had, wherever in them they lie."""
    periods, back = -(-days // PERIOD), 28 // PERIOD
    counts = np.zeros((customers, periods + back), np.int64)
    counts[:, :back] = random.poisson(PERIOD * LEAST / (1 - SHARE), (customers, back))
    for period in range(back, periods + back):
        rate = LEAST + SHARE * counts[:, period - back : period].sum(axis=1) / 28
        counts[:, period] = random.poisson(PERIOD * rate)
    counts = counts[:, back:]
    customer, period = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    day = PERIOD * (period + random.random(len(period)))
    return customer[day < days], day[day < days]


def season_events(random: np.random.Generator, customers: int, days: int) -> Events:
    """Poisson events whose rate is everybody's and follows the year."""
    number = random.poisson(MEAN * (1 + SWING) * days, customers)
    customer, day = np.repeat(np.arange(customers), number), random.uniform(0, days, number.sum())
    kept = random.random(len(day)) * (1 + SWING) < 1 + SWING * np.sin(2 * np.pi * day / YEAR)
    return customer[kept], day[kept]


def memoryless_truth(data: Dataset) -> Floats:
    """No event in the horizon: the rate's posterior is Gamma(R + x, ALPHA + T), for x events after the first in T."""
    at = StateAtCutoff.of(data)
    return _no_event(at.events - 1, (at.cutoff - at.first) / MICROSECONDS_A_DAY)


def buy_till_you_die_truth(data: Dataset) -> Floats:
    """Gone for good, or no event in the horizon: P(alive) of Fader and Hardie (2008), and the posterior above."""
    at = StateAtCutoff.of(data)
    x, age = at.events - 1, (at.cutoff - at.first) / MICROSECONDS_A_DAY
    last = (at.last - at.first) / MICROSECONDS_A_DAY
    odds_of_gone = np.where(x > 0, A / np.maximum(B + x - 1, 1e-9) * ((ALPHA + age) / (ALPHA + last)) ** (R + x), 0.0)
    return 1 - (1 - _no_event(x, age)) / (1 + odds_of_gone)


def counts_truth(data: Dataset) -> Floats:
    """No event in the two periods of the horizon, the second of which has none in the first behind it."""
    assert HORIZON == 2 * PERIOD
    counts = data.aggregates["events_28"] + data.aggregates["events_14"]
    return np.exp(-PERIOD * (2 * LEAST + SHARE * counts.to_numpy() / 28))


def season_truth(data: Dataset) -> Floats:
    """No event at the rate of that time of year."""
    opens = (data.cutoff - microseconds(START)) / MICROSECONDS_A_DAY

    def integral(day: Floats) -> Floats:
        return np.asarray(MEAN * (day - SWING * YEAR / (2 * np.pi) * np.cos(2 * np.pi * day / YEAR)))

    return np.exp(integral(opens) - integral(opens + HORIZON))


NULL_WORLDS = {
    "bg-nbd": NullWorld(buy_till_you_die_events, buy_till_you_die_truth),
    "memoryless": NullWorld(memoryless_events, memoryless_truth),
    "counts-only": NullWorld(counts_events, counts_truth),
    "calendar-only": NullWorld(season_events, season_truth, least_days=1_120, calendar=True),
}


def _renewed(random: np.random.Generator, leaves: Floats, days: int) -> Events:
    """Each customer's first event in the first `ARRIVALS` of the days, then Poisson events until the end or until the
    customer leaves, which after each happens with the probability `leaves`.
    """
    customers = len(leaves)
    first, rate = random.uniform(0, ARRIVALS * days, customers), random.gamma(R, 1 / ALPHA, customers)
    number = random.poisson(rate * (days - first))
    stays = random.geometric(leaves) if leaves.all() else number  # the event after which a customer leaves
    customer = np.repeat(np.arange(customers), number)
    day = random.uniform(first[customer], days)
    day = day[np.lexsort((day, customer))]
    rank = np.arange(len(day)) - np.repeat(np.cumsum(number) - number, number)
    kept = rank < stays[customer]
    return np.concatenate([np.arange(customers), customer[kept]]), np.concatenate([first, day[kept]])


def _no_event(x: Integers, age: Floats) -> Floats:
    return np.asarray(((ALPHA + age) / (ALPHA + age + HORIZON)) ** (R + x))
