"""Worlds whose true probability of churn is known, and with it the best score that any model could reach.

Every customer has a history before one cutoff, that of a part of a forward window (`Groups`) or one for all; who does
not churn has one more event within the horizon. The datasets are built by `build_shard`, so that conventional models
get the full aggregates: what kind an event is (`a`, `b` or neither) stands in numeric attributes, which gives the
aggregates the counts of each kind in two windows and the time since the last of each.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from features.question import Question
from features.splits import Split
from features.time import microseconds
from models.numerics import sigmoid
from pipeline.training.snapshot import Snapshot
from tests.support.worlds.made_events import built, moments_after

CUTOFF = datetime(2024, 6, 3, tzinfo=UTC)
SPAN = 80.0  # days over which a history extends
STEPS = 40
QUESTION = Question(active_within=91, horizons=(28,))
ATTRIBUTES = {"a": "numeric", "b": "numeric"}
LIKELY, UNLIKELY = 0.85, 0.15
WITHIN = 3  # events, for "A then B within k"
MOST_AT_ONCE, BURST = 50, 10 / 1440  # events of an occasion, and the days that they take


@dataclass(frozen=True)
class Histories:
    """`before` [steps]: days before the cutoff, descending within each customer; `kind` [steps]: `a`, `b` or `-`."""

    customer: np.ndarray
    before: Floats
    kind: np.ndarray
    probability: Floats  # [customers], of churn


def _times(random: np.random.Generator, customers: int, steps: int) -> Floats:
    """[customers, steps]: moments at random, so that neither rhythm nor silence tells anything."""
    return -np.sort(-random.uniform(1, SPAN, (customers, steps)), axis=1)


def _even(random: np.random.Generator, kind: np.ndarray, probability: Floats) -> Histories:
    customers, steps = kind.shape
    before = _times(random, customers, steps)
    return Histories(np.repeat(np.arange(customers), steps), before.ravel(), kind.ravel(), probability)


def memoryless(random: np.random.Generator, customers: int) -> Histories:
    """Nothing in any history tells anything: the best is the base rate."""
    kind = random.choice(["a", "b", "-"], (customers, STEPS))
    return _even(random, kind, np.full(customers, 0.3))


def counts_only(random: np.random.Generator, customers: int) -> Histories:
    """The number of events decides, whatever their order and kind."""
    steps = random.integers(5, 2 * STEPS, customers)
    customer = np.repeat(np.arange(customers), steps)
    before = random.uniform(1, SPAN, len(customer))
    order = np.lexsort((-before, customer))
    probability = sigmoid((STEPS - steps) / 10.0)
    return Histories(customer, before[order], random.choice(["a", "b", "-"], len(customer)), probability)


def growing_gaps(random: np.random.Generator, customers: int) -> Histories:
    """Gaps that grow over the history foretell churn, gaps that shrink the contrary; counts and span are the same."""
    return _growing(random, customers, np.ones((customers, 1)))


def growing_gaps_at_own_pace(random: np.random.Generator, customers: int) -> Histories:
    """The same where every customer has a pace of their own, so that windows of fixed lengths, which hold the trend
    where all histories span as many days, do not line up with it.
    """
    return _growing(random, customers, random.uniform(0.2, 1.0, (customers, 1)))


def _growing(random: np.random.Generator, customers: int, pace: Floats) -> Histories:
    slope = random.normal(0, 1, customers)
    gaps = random.gamma(2.0, size=(customers, STEPS)) * np.exp(slope[:, None] * np.linspace(-1, 1, STEPS))
    gaps *= pace * (SPAN - 1) / gaps.sum(axis=1, keepdims=True)
    # The last days are left free at random, so that silence does not measure the last gap.
    before = pace * SPAN - np.cumsum(gaps, axis=1) + random.uniform(0, 5, (customers, 1))
    kind = np.full(before.shape, "-")
    return Histories(np.repeat(np.arange(customers), STEPS), before.ravel(), kind.ravel(), sigmoid(2 * slope))


def season(random: np.random.Generator, customers: int) -> Histories:
    """A customer with a season buys a in one half of a cycle of some three weeks and b in the other; who has none buys
    either at any time. Length and phase of the cycle are the customer's own, and the counts are the same.
    """
    before = _times(random, customers, STEPS)
    seasonal = random.random((customers, 1)) < 0.5
    cycle, phase = random.uniform(16, 24, (customers, 1)), random.random((customers, 1))
    half = (2 * (before / cycle + phase)).astype(int) % 2
    kind = np.where(np.where(seasonal, half == 0, random.random(before.shape) < 0.5), "a", "b")
    probability = np.where(seasonal[:, 0], UNLIKELY, LIKELY)
    return Histories(np.repeat(np.arange(customers), STEPS), before.ravel(), kind.ravel(), probability)


def regularity(random: np.random.Generator, customers: int) -> Histories:
    """A short gap and a long one in turns, or the same gaps in any order: the rhythm decides, and neither the mean nor
    the spread of the gaps nor the longest knows it.
    """
    gaps = random.gamma(20.0, 1 / 20.0, (customers, STEPS)) * np.where(np.arange(STEPS) % 2, 3.0, 1.0)
    regular = random.random(customers) < 0.5
    gaps = np.where(regular[:, None], gaps, random.permuted(gaps, axis=1))
    gaps *= (SPAN - 1) / gaps.sum(axis=1, keepdims=True)
    before = SPAN - np.cumsum(gaps, axis=1) + random.uniform(0, 5, (customers, 1))
    kind, probability = np.full(before.shape, "-"), np.where(regular, UNLIKELY, LIKELY)
    return Histories(np.repeat(np.arange(customers), STEPS), before.ravel(), kind.ravel(), probability)


def which_came_last(random: np.random.Generator, customers: int) -> Histories:
    """Which of a and b came last decides."""
    kind = random.choice(["a", "b", "-"], (customers, STEPS), p=[0.2, 0.2, 0.6])
    kind[:, 0] = "a"
    last = STEPS - 1 - np.argmax(kind[:, ::-1] != "-", axis=1)
    return _even(random, kind, np.where(kind[np.arange(customers), last] == "b", LIKELY, UNLIKELY))


def a_then_b(random: np.random.Generator, customers: int) -> Histories:
    """Whether ever a b came within the `WITHIN` events after an a decides."""
    kind = random.choice(["a", "b", "-"], (customers, STEPS), p=[0.09, 0.09, 0.82])
    found = np.zeros(customers, bool)
    for lag in range(1, WITHIN + 1):
        found |= ((kind[:, :-lag] == "a") & (kind[:, lag:] == "b")).any(axis=1)
    return _even(random, kind, np.where(found, LIKELY, UNLIKELY))


def signal_back(lag: int) -> Callable[[np.random.Generator, int], Histories]:
    """The kind of the event `lag` steps before the last, with which every history begins, decides; all that come after
    are as likely of either kind and mean nothing.
    """

    def world(random: np.random.Generator, customers: int) -> Histories:
        kind = random.choice(["a", "b"], (customers, lag + 1))
        return _even(random, kind, np.where(kind[:, 0] == "b", LIKELY, UNLIKELY))

    return world


def in_bursts(
    world: Callable[[np.random.Generator, int], Histories],
) -> Callable[[np.random.Generator, int], Histories]:
    """The same occasions, each of 1 to MOST_AT_ONCE events within BURST instead of one."""

    def bursts(random: np.random.Generator, customers: int) -> Histories:
        plain = world(random, customers)
        events = random.integers(1, MOST_AT_ONCE + 1, len(plain.before))
        later = random.uniform(0, BURST, events.sum())
        occasion = np.repeat(np.arange(len(events)), events)
        before = np.maximum(plain.before[occasion] - later, 0.0)
        order = np.lexsort((-before, occasion))
        return Histories(plain.customer[occasion], before[order], plain.kind[occasion], plain.probability)

    return bursts


WORLDS: dict[str, Callable[[np.random.Generator, int], Histories]] = {
    "memoryless": memoryless,
    "counts-only": counts_only,
    "growing-gaps": growing_gaps,
    "growing-gaps-own-pace": growing_gaps_at_own_pace,
    "season": season,
    "regularity": regularity,
    "which-came-last": which_came_last,
    "a-then-b": a_then_b,
    "signal-10-back": signal_back(10),
    "signal-100-back": signal_back(100),
    "signal-1000-back": signal_back(1_000),
    "regularity-in-bursts": in_bursts(regularity),
}
IN_TIME = (
    "growing-gaps",
    "growing-gaps-own-pace",
    "season",
    "regularity",
    "which-came-last",
    "a-then-b",
    "signal-10-back",
    "signal-100-back",
    "signal-1000-back",
    "regularity-in-bursts",
)


@dataclass(frozen=True)
class Groups:
    """How many customers are asked about in each part of a forward window; nobody is in two."""

    train: int
    valid: int
    calibrate: int
    test: int


def planted(name: str, customers: int, seed: int) -> tuple[Dataset, Floats]:
    """The world's dataset, one example a customer, and their true probabilities of churn, in its order."""
    data, truth, _ = _planted(name, [customers], seed)
    return data, truth


def planted_snapshot(name: str, groups: Groups, seed: int) -> tuple[Snapshot, Floats]:
    """The world with a forward window, each part a horizon after the one before and of customers of its own, and the
    true probabilities of the test's customers, in its order.
    """
    data, truth, cutoffs = _planted(name, list(asdict(groups).values()), seed)
    split = Split(*((cutoff,) for cutoff in cutoffs))
    end = cutoffs[-1] + timedelta(days=QUESTION.primary)
    return Snapshot(end, QUESTION, (split,), (), data), truth[data.cutoff == microseconds(cutoffs[-1])]


def _planted(name: str, groups: list[int], seed: int) -> tuple[Dataset, Floats, list[datetime]]:
    """One example a customer, at the cutoff of the customer's group, the truth of each, and the cutoffs, which are a
    horizon apart.
    """
    random = np.random.default_rng(seed)
    horizon = timedelta(days=QUESTION.primary)
    cutoffs = [CUTOFF + number * horizon for number in range(len(groups))]
    worlds = [WORLDS[name](random, customers) for customers in groups]
    customer, day, kind = [], [], []
    for number, (world, begin) in enumerate(zip(worlds, np.cumsum([0, *groups]), strict=False)):
        churns = random.random(groups[number]) < world.probability
        back = np.flatnonzero(~churns)
        customer += [begin + world.customer, begin + back]
        after = number * QUESTION.primary
        day += [after - world.before, after + random.uniform(0, QUESTION.primary, len(back))]
        kind += [world.kind, np.full(len(back), "-")]
    kinds, days = np.concatenate(kind), np.concatenate(day)
    attributes = {name: (kinds == name).astype(np.float64) for name in ATTRIBUTES}
    amount = random.gamma(2.0, 10.0, len(days)).round(2)
    every = built(np.concatenate(customer), moments_after(CUTOFF, days), attributes, amount, (QUESTION, cutoffs))
    number_of = np.array([int(name[1:]) for name in every.customer_id])
    group = np.searchsorted(np.cumsum(groups), number_of, side="right")
    own = every.cutoff == np.array([microseconds(cutoff) for cutoff in cutoffs])[group]
    truth = np.concatenate([world.probability for world in worlds])
    return every.select(own), truth[number_of[own]], cutoffs


def share_of_gain(probability: Floats, truth: Floats) -> float:
    """What a model gains in log loss over the base rate, as a share of what the true probability gains. Losses are
    expected ones, under the true probability, so that no luck of the labels enters. NaN where nothing can be gained.
    """

    def loss(said: Floats) -> float:
        held = np.clip(said, 1e-7, 1 - 1e-7)
        return float(-np.mean(truth * np.log(held) + (1 - truth) * np.log(1 - held)))

    base, best = loss(np.full_like(truth, truth.mean())), loss(truth)
    return (base - loss(probability)) / (base - best) if base - best > 1e-9 else float("nan")
