"""What a short history allows to be asked is what a training finds enough."""

from datetime import UTC, datetime, timedelta

import pytest

from features.askable import shortened
from features.question import Question
from features.splits import rolling_origin

FIRST = datetime(2024, 1, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("days", [10, 14, 30, 60, 90])
def test_what_is_advised_can_be_trained(days):
    until = FIRST.replace(hour=0) + timedelta(days=days)
    shorter = shortened(Question(active_within=42, horizons=(14, 28)), FIRST, until)
    assert rolling_origin(shorter.cutoffs(FIRST, until), shorter, 1)
    assert shorter.primary in shorter.horizons


def test_of_two_days_nothing_can_be_asked():
    assert shortened(Question(), FIRST, FIRST + timedelta(days=2)) is None
