from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from features.question import Question
from features.splits import rolling_origin, split

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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"horizons": ()}, "at least one"),
        ({"horizons": (28, 28)}, "twice"),
        ({"horizons": (28,), "primary_horizon": 7}, "not one of"),
        ({"active_within": 0}, "greater than 0"),
        ({"active_within": "91"}, "integer"),
    ],
)
def test_what_cannot_be_asked_is_refused(values: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Question(**values)


@pytest.mark.parametrize("horizon", [7, 14, 28, 45])
def test_slices_are_purged_by_a_horizon(horizon: int) -> None:
    question = Question(horizons=(horizon,), active_within=30)
    parts = split(question.cutoffs(MIDNIGHT - timedelta(days=300), MIDNIGHT), question)
    gap = timedelta(days=horizon)
    assert max(parts.train) + gap <= min(parts.valid)
    assert max(parts.valid) + gap <= min(parts.test)
    assert len(parts.test) == len(parts.valid) == 4


def test_a_short_history_has_shorter_slices() -> None:
    question = Question(horizons=(14,), active_within=42)
    parts = split(question.cutoffs(MIDNIGHT - timedelta(days=112), MIDNIGHT), question)
    assert 1 <= len(parts.test) < 4
    assert len(parts.train) >= len(parts.test)


def test_too_short_a_history_says_how_much_is_missing() -> None:
    question = Question(horizons=(28,), active_within=91)
    grid = question.cutoffs(MIDNIGHT - timedelta(days=150), MIDNIGHT)
    with pytest.raises(ValueError, match="at least 28 more days"):
        split(grid, question)
    assert split(question.cutoffs(MIDNIGHT - timedelta(days=178), MIDNIGHT), question).train


def test_windows_roll_forward_over_disjoint_test_periods() -> None:
    question = Question()
    grid = question.cutoffs(datetime(2017, 1, 1, 11, 53, tzinfo=UTC), MIDNIGHT)
    windows = rolling_origin(grid, question, 3)
    assert [part.test[0].date().isoformat() for part in windows] == ["2017-07-10", "2017-08-28", "2017-10-16"]
    assert windows[-1] == split(grid, question)
    for earlier, later in pairwise(windows):
        assert earlier.test[-1] + timedelta(days=28) <= later.test[0]
    assert [len(part.test) for part in rolling_origin(grid, question, 9)] == [1, 4, 4, 4]  # no span for more
