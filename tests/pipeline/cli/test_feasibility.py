"""A run that can come to nothing says why, and with what change it would."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.question import Question
from pipeline.cli.feasibility import require_askable, require_something
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import StepRun
from pipeline.runtime.errors import RecurError
from pipeline.sources.contract import Span
from tests.support.published import predictions_of

FIRST = datetime(2024, 1, 1, 0, 3, tzinfo=UTC)


def test_too_short_a_history_says_from_when_and_with_what_change() -> None:
    question = Question(active_within=42, horizons=(14,))
    with pytest.raises(RecurError) as refused:
        require_askable(question, Span(FIRST, datetime(2024, 1, 15, tzinfo=UTC)))
    assert "14 days, 2024-01-01 to 2024-01-14" in str(refused.value)
    since = question.askable_from(FIRST)
    assert f"as of {since.date()}; now it can be asked with horizons = [" in str(refused.value)
    require_askable(question, Span(FIRST, since))


def test_a_run_that_trained_and_served_nothing_fails_with_the_reason(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    StepRun("snapshot").write(predictions_of(settings), "skipped", "no training as of then: too early")
    with pytest.raises(RecurError, match="nothing could be trained, and nothing is served: no training as of then"):
        require_something(settings)
