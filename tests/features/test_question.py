from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from features.question import Question
from features.splits import remarks, require_purged, rolling_origin, split

MIDNIGHT = datetime(2017, 12, 4, tzinfo=UTC)


def test_the_grid_ends_where_the_primary_horizon_just_closes() -> None:
    grid = Question().cutoffs(datetime(2017, 1, 1, 11, 53, tzinfo=UTC), MIDNIGHT)
    assert grid[-1] == datetime(2017, 11, 6, tzinfo=UTC)
    assert grid[0] == datetime(2017, 4, 3, tzinfo=UTC)
    assert {later - earlier for earlier, later in pairwise(grid)} == {timedelta(days=7)}


def test_no_cutoff_before_eligibility_is_observed() -> None:
    assert Question().cutoffs(datetime(2017, 10, 1, tzinfo=UTC), MIDNIGHT) == []


def test_the_digest_follows_the_meaning() -> None:
    assert Question().digest == Question(horizons=(28,), primary_horizon=28).digest
    assert Question().digest != Question(active_within=90).digest
    assert Question(activity=("a", "b")).digest == Question(activity=("b", "a")).digest
    several = [Question(gap=1), Question(ends_with=("x",)), Question(activity=("x",)), Question(exclude_types=("x",))]
    assert len({question.digest for question in [Question(), *several]}) == 5


def test_the_calendar_moves_the_digest_of_those_alone_who_ask_for_it() -> None:
    """It is information and not meaning; questions that said true or false keep the digest that they had."""
    assert Question().digest == Question(calendar=False).digest == "7a705e40226d014d"
    assert Question(calendar=True).digest == "3fe7a37f514b9fc6"
    assert [Question(calendar=said).spec({}).calendar for said in (None, True, False)] == [True, True, False]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"horizons": ()}, "at least one"),
        ({"horizons": (28, 28)}, "twice"),
        ({"horizons": (28,), "primary_horizon": 7}, "not one of"),
        ({"active_within": 0}, "greater than 0"),
        ({"active_within": "91"}, "integer"),
        ({"gap": -1}, "greater than or equal to 0"),
        ({"activity": ("buy",), "ends_with": ("buy",)}, "'buy' cannot be activity and end a customer"),
        ({"comes_back_with": ("buy",), "ends_with": ("buy",)}, "'buy' cannot be activity and end a customer"),
        ({"activity": ("buy",), "exclude_types": ("buy",)}, "'buy' is in exclude_types and asked about"),
    ],
)
def test_what_cannot_be_asked_is_refused(values: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Question(**values)


@pytest.mark.parametrize("horizon", [7, 14, 28, 45])
def test_slices_are_purged_by_a_horizon(horizon: int) -> None:
    question = Question(horizons=(horizon,), active_within=30)
    parts = split(question.cutoffs(MIDNIGHT - timedelta(days=400), MIDNIGHT), question)
    slices = (parts.train, parts.valid, parts.calibrate, parts.test)
    for earlier, later in pairwise(slices):
        assert max(earlier) + timedelta(days=horizon) <= min(later)
    assert all(list(part) == sorted(part) for part in slices)
    assert len(parts.test) == 4
    assert not parts.shares


def test_slices_before_the_test_are_short_where_training_would_be() -> None:
    question = Question()
    year = split(question.cutoffs(MIDNIGHT - timedelta(days=337), MIDNIGHT), question)
    assert [len(part) for part in (year.train, year.valid, year.calibrate, year.test)] == [15, 2, 2, 4]
    longer = split(question.cutoffs(MIDNIGHT - timedelta(days=500), MIDNIGHT), question)
    assert [len(part) for part in (longer.valid, longer.calibrate, longer.test)] == [4, 4, 4]
    assert len(longer.train) >= 16


def test_calibration_without_a_slice_of_its_own_is_the_latest_part_of_validation() -> None:
    question = Question()
    parts = split(question.cutoffs(MIDNIGHT - timedelta(days=190), MIDNIGHT), question)
    assert parts.shares
    assert parts.calibrate == parts.valid[-len(parts.calibrate) :]
    assert max(parts.train) + timedelta(days=28) <= min(parts.valid)
    assert max(parts.valid) + timedelta(days=28) <= min(parts.test)
    assert remarks([parts], 1) == [
        f"the history before {parts.test[0].date()} is too short for a calibration slice of its own: calibration uses "
        "the latest part of validation"
    ]


def test_the_longest_horizon_closes_for_a_training_cutoff_at_least() -> None:
    question = Question(horizons=(7, 28, 91), primary_horizon=28)
    grid = question.cutoffs(datetime(2017, 1, 1, 11, 53, tzinfo=UTC), MIDNIGHT)
    for parts in rolling_origin(grid, question, 3):
        assert parts.train[0] + timedelta(days=91) <= parts.valid[0]
    with pytest.raises(ValueError, match="28 days, and 91 after the first"):
        split(grid[-16:], question)


def test_a_short_history_has_shorter_slices() -> None:
    question = Question(horizons=(14,), active_within=42)
    parts = split(question.cutoffs(MIDNIGHT - timedelta(days=112), MIDNIGHT), question)
    assert 1 <= len(parts.test) < 4
    assert len(parts.train) >= len(parts.test)


@pytest.mark.parametrize(
    "question",
    [Question(), Question(horizons=(7, 28, 91), primary_horizon=28), Question(gap=10, cutoff_every=5)],
)
def test_the_date_that_would_do_is_the_first_that_does(question: Question) -> None:
    first = datetime(2017, 1, 1, 11, 53, tzinfo=UTC)
    enough = question.askable_from(first)
    assert enough == enough.replace(hour=0, minute=0)
    assert split(question.cutoffs(first, enough), question).train
    with pytest.raises(ValueError, match="too few"):
        split(question.cutoffs(first, enough - timedelta(days=1)), question)


def test_cutoffs_too_close_to_the_next_slice_are_refused_with_the_date_that_would_do() -> None:
    question = Question(gap=2)
    parts = split(question.cutoffs(datetime(2017, 1, 1, tzinfo=UTC), MIDNIGHT), question)
    require_purged(parts, question)
    close = replace(parts, train=(*parts.train, parts.valid[0] - timedelta(days=29)))
    with pytest.raises(ValueError, match=f"closes only after 30 days; {(parts.valid[0] - timedelta(days=30)).date()}"):
        require_purged(close, question)


def test_windows_roll_forward_over_disjoint_test_periods() -> None:
    question = Question()
    grid = question.cutoffs(datetime(2017, 1, 1, 11, 53, tzinfo=UTC), MIDNIGHT)
    windows = rolling_origin(grid, question, 3)
    assert [part.test[0].date().isoformat() for part in windows] == ["2017-07-17", "2017-08-28", "2017-10-16"]
    assert windows[-1] == split(grid, question)
    for earlier, later in pairwise(windows):
        assert earlier.test[-1] + timedelta(days=28) <= later.test[0]
    assert remarks(windows, 3) == []


def test_fewer_windows_than_asked_are_said_so() -> None:
    """A span as CDNOW's holds three windows of 45 days, and no three of 90."""
    first, until = datetime(1997, 1, 1, tzinfo=UTC), datetime(1998, 7, 1, tzinfo=UTC)
    question = Question(horizons=(45,))
    assert len(rolling_origin(question.cutoffs(first, until), question, 3)) == 3
    question = Question(horizons=(90,))
    windows = rolling_origin(question.cutoffs(first, until), question, 3)
    assert remarks(windows, 3)[0] == "the history allows 2 of 3 windows"
