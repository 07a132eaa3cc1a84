"""Whatever one side can know at a cutoff, the other can: each aggregate and each channel of a network belongs to a
piece of information that the other side reads too. The order of events is the exception, and what follows from it.
"""

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.aggregates.calendar import WORDS
from features.dataset import Dataset
from features.question import Question
from features.sequences.encoding import Encoder
from models import information_choice
from models.held_out import Parts
from models.information import columns_read, reads_calendar, sequences_read
from models.information_choice import choose_information
from tests.support.worlds.event_worlds import END, START, build, revisions
from tests.support.worlds.model_worlds import DAY, halves, make_dataset, order_world, steady_world

PIECES = {  # piece -> the aggregates that tell of it, the channels (`at` the cutoff, of a `step`, of a vocabulary)
    "recency": ("days_since_last_event|days_since_activity|overdue.*", "at days_since_last_event|at overdue"),
    "age": ("days_since_first_event", "at days_since_first_event"),
    "counts": (r"events_(total|\d+|share_\d+|trend|a_day)|active_days_total", "at events"),
    "rhythm": ("gap_.*", "step gap(_is_null)?"),
    "amounts": ("amount_.*", "step amount(_is_null)?"),
    "quantities": (r"quantity_\d+", "step quantity(_is_null)?"),
    "a numeric attribute": (r"items_\d+|days_since_items", "step items(_is_null)?"),
    "a categorical attribute": (r"distinct_store_\d+|(days_since_)?store=.*", "vocabulary store"),
    "event types": ("(days_since_)?event_type=.*", "vocabulary event_type"),
    "weekday of the cutoff": ("weekday_(sine|cosine)", "at weekday_(sine|cosine)"),
    "time of year": ("month_(sine|cosine)|days_to_year_end", "(at|step) year_(sine|cosine)"),
}
BOTH = {"calendar": True, "categories": True}
QUESTION = Question(active_within=60, event_types=("purchase", "view", "cancel"))


def world(stretched: int = 1, question: Question = QUESTION) -> Dataset:
    """Cutoffs on different weekdays, over 200 days times `stretched`."""
    rows = revisions(1, customers=40, events=2_500, unusual=0)
    for name in ("event_time", "known_time"):
        rows[name] = pd.Timestamp(START) + (rows[name] - pd.Timestamp(START)) * stretched
    days = [day * stretched for day in range(60, 170, 9)]
    moment = START + (END - START) * stretched
    return build(rows, [START + timedelta(days=day) for day in days], question, moment=moment)


def read_by(data: Dataset, **off: bool) -> tuple[set[str], set[str]]:
    """What each side reads of `data`: aggregates, and channels. `off` names switches that are."""
    switch = BOTH | off
    encoder = Encoder.fit(data, reads_calendar(data, switch), sequences_read(data, switch))
    channels = {f"step {channel.name}" for channel in encoder.steps}
    channels |= {f"at {channel.name}" for channel in encoder.cutoffs}
    return set(columns_read(data, switch)), channels | {f"vocabulary {name}" for name in encoder.vocabularies}


def pieces_of(names: set[str], side: int) -> set[str]:
    """The pieces that these names tell of; each belongs to exactly one."""
    pieces = set()
    for name in names:
        told = [piece for piece, patterns in PIECES.items() if re.fullmatch(patterns[side], name)]
        assert len(told) == 1, f"{name} tells of {told}: say in PIECES where the other side reads it"
        pieces |= set(told)
    return pieces


def test_each_piece_of_information_is_read_by_both_sides():
    aggregates, channels = read_by(world(stretched=3))
    assert pieces_of(aggregates, 0) == pieces_of(channels, 1) == set(PIECES)


@pytest.mark.parametrize("by", ["the recipe", "the question"])
def test_the_calendar_is_switched_off_for_both_at_once(by):
    question = QUESTION if by == "the recipe" else QUESTION.model_copy(update={"calendar": False})
    aggregates, channels = read_by(world(3, question), **{"calendar": False} if by == "the recipe" else {})
    without = set(PIECES) - {"weekday of the cutoff", "time of year"}
    assert pieces_of(aggregates, 0) == pieces_of(channels, 1) == without


def test_the_time_of_year_is_read_by_both_or_by_neither():
    aggregates, channels = read_by(world())
    assert pieces_of(aggregates, 0) == pieces_of(channels, 1) == set(PIECES) - {"time of year"}


def test_categorical_attributes_are_switched_off_for_both_at_once_and_types_stay():
    aggregates, channels = read_by(world(stretched=3), categories=False)
    assert pieces_of(aggregates, 0) == pieces_of(channels, 1) == set(PIECES) - {"a categorical attribute"}


def seasonal_world() -> Dataset:
    """Customers of one rate who, all of them, buy in every second quarter of a year alone."""
    random, times = np.random.default_rng(1), []
    for _ in range(60):
        days = np.cumsum(random.exponential(4, 260))
        quarter = (days // 91).astype(int)
        times.append(START_OF_2017 + (days[quarter % 2 == 0] * DAY).astype(np.int64))
    data = make_dataset(times, [START_OF_2017 + day * DAY for day in range(40, 900, 12)], (14,), random)
    turns = data.cutoff / DAY / 182.0 % 1
    season = {"month_sine": np.sin(2 * np.pi * turns), "month_cosine": np.cos(2 * np.pi * turns)}
    data.aggregates[list(season)] = pd.DataFrame(season)
    return data


START_OF_2017 = 17_167 * DAY
UNDECIDED = dict.fromkeys(BOTH)


@pytest.mark.parametrize(("data", "expected"), [(seasonal_world(), True), (steady_world(), False)])
def test_the_calendar_is_chosen_where_it_helps_both_sides_together(data, expected):
    if not expected:  # a calendar that says nothing
        data.aggregates["weekday_sine"] = np.sin(2 * np.pi * (data.cutoff // DAY % 7) / 7)
    train, valid = halves(data)
    parts = Parts(train, valid, valid, valid, train)
    assert choose_information(parts, 0, 5, UNDECIDED) == {"calendar": expected, "categories": False}
    parts = Parts(*(without(part) for part in (train, valid, valid, valid, train)))
    assert choose_information(parts, 0, 5, UNDECIDED) == dict.fromkeys(BOTH, False)


def of_the_last_store(data: Dataset) -> Dataset:
    """The same with an aggregate of the store that came last."""
    codes, _ = data.sequences.categorical["store"]
    since = np.where(codes[data.sequences.last_step] == 1, 1.0, 6.0)
    return replace(data, aggregates=data.aggregates.assign(**{"days_since_store=b": since}))


@pytest.mark.parametrize(("data", "expected"), [(order_world(200), True), (steady_world(), False)])
def test_categorical_attributes_are_chosen_where_they_help_both_sides_together(data, expected):
    train, valid = halves(of_the_last_store(data))
    chosen = choose_information(Parts(train, valid, valid, valid, train), 0, 5, UNDECIDED)
    assert chosen == {"calendar": False, "categories": expected}


def test_nothing_is_fitted_for_what_is_the_same_for_all_or_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the calendar is where cutoffs are a week apart, within a year."""
    data = steady_world(customers=20)
    for name in WORDS:
        data.aggregates[name] = 0.5
    monkeypatch.setattr(information_choice, "_losses", lambda *_: pytest.fail("fitted"))
    parts = Parts(data, data, data, data, data)
    assert choose_information(parts, 0, 5, UNDECIDED) == dict.fromkeys(BOTH, False)
    data.aggregates["weekday_sine"] = np.sin(np.arange(len(data)))
    assert choose_information(parts, 0, 5, {"calendar": True, "categories": False})["calendar"]


def without(data: Dataset) -> Dataset:
    """The same with no calendar in the data."""
    columns = columns_read(data, BOTH | {"calendar": False})
    return Dataset(data.horizons, data.customer_id, data.cutoff, data.aggregates[columns], data.sequences, data.labels)
