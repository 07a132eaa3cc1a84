"""Nobody waits in silence: what is at work is shown while it works."""

import io
import logging
import time

import pytest
from rich.console import Console

from pipeline.cli import console as shown
from pipeline.cli.console import shown_while_at_work


def test_what_was_logged_last_is_shown_again_and_again() -> None:
    lines: list[str] = []
    logger = logging.getLogger("recur.train")
    before = logging.getLogger("recur").level, list(logging.getLogger("recur").handlers)
    with shown_while_at_work(lines.append, interval=0.01):
        deadline = time.monotonic() + 5
        while not lines and time.monotonic() < deadline:
            time.sleep(0.005)
        logger.debug("gru: epoch %d", 3)
        while lines[-1] != "gru: epoch 3" and time.monotonic() < deadline:
            time.sleep(0.005)
    assert lines[0] == ""
    assert lines[-1] == "gru: epoch 3"
    assert before == (logging.getLogger("recur").level, list(logging.getLogger("recur").handlers))


def test_a_slow_step_on_a_pipe_says_how_long_it_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "shown_while_at_work", lambda show: shown_while_at_work(show, interval=0.01))
    file = io.StringIO()
    with shown.working(Console(file=file, width=80), "train gru (1 of 3)"):
        logging.getLogger("recur.train").debug("gru: epoch 2")
        deadline = time.monotonic() + 5
        while "epoch 2" not in file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.005)
    assert "train gru (1 of 3): 0 s so far; gru: epoch 2" in file.getvalue()


def test_what_failed_is_shown_no_more() -> None:
    lines: list[str] = []
    with pytest.raises(ValueError, match="broken"), shown_while_at_work(lines.append, interval=0.01):
        raise ValueError("broken")
    shown_lines = len(lines)
    time.sleep(0.05)
    assert len(lines) == shown_lines
