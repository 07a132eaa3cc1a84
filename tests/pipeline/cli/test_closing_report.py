"""The closing report: what it shows of a published and reviewed world, and what it says where nothing is yet."""

import io
import re

import pytest
from rich.console import Console

from pipeline.cli.closing_report import print_comparison, print_explanation, print_report
from pipeline.steps.compare import last_comparison
from pipeline.steps.publish import publish
from pipeline.steps.review import review
from tests.pipeline.conftest import World
from tests.pipeline.steps.test_publish import leave, scores
from tests.support.worlds.trained_world import FIRST, LATER, PRIMARY, eligible_by_hand, loaded_up_to, night


def recording_console(width: int = 80) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, markup=False, highlight=False), file


def test_where_nothing_is_yet_it_says_so(fresh_world: World) -> None:
    console, file = recording_console()
    print_report(fresh_world.settings, console)
    assert "nothing to review" in file.getvalue()
    assert "Nothing is published yet" in file.getvalue()
    assert "make up" in file.getvalue()


def test_those_most_at_risk_and_the_review_are_shown(fresh_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    customers = eligible_by_hand(fresh_world.events, FIRST)
    frame = scores({name: (number + 1) / 200 for number, name in enumerate(customers)}, horizon=PRIMARY)
    frame.loc[len(frame) - 1, "reasons"] = "no event for 23 days, usually every 6"
    settings = fresh_world.settings
    leave(settings, night(FIRST), frame)
    with loaded_up_to(settings, FIRST):
        publish(settings, night(FIRST))
    with monkeypatch.context() as changed:
        changed.setattr("pipeline.steps.review.treated_by_the_source", lambda *_: set(customers[:40]))
        review(settings, night(LATER))
    console, file = recording_console()
    print_report(settings, console)
    printed = file.getvalue()
    assert re.search(r"^treated +40 ", printed, re.MULTILINE)
    assert re.search(rf"^not treated +{len(customers) - 40} ", printed, re.MULTILINE)
    shown = [line.split()[0] for line in printed.splitlines() if line.split() and line.split()[0] in customers]
    assert shown == customers[::-1][:10]
    assert "no event for 23 days" in printed
    assert f"Scores of {FIRST.date()} by gru" in printed
    assert max(map(len, printed.replace(str(settings.var), "").splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_comparison_fits_and_is_whole(trained_world: World, width: int) -> None:
    console, file = recording_console(width)
    print_comparison(last_comparison(trained_world.settings.state), console)
    printed = file.getvalue()
    for model in last_comparison(trained_world.settings.state)["models"]:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{model['name']} ")]
        assert f"{model['metrics']['log_loss']['value']:.4f}" in line
    assert "\u2026" not in printed
    words = " ".join(printed.split())
    assert "Verdict: " in words
    assert "Contribution: No detectable contribution: conventional_pool was not run" in words
    assert "Left out here: models that did not compete: random_forest" in words
    assert "more than one test window" in words


def test_an_explanation_of_a_customer_who_is_no_longer_eligible() -> None:
    console, file = recording_console()
    explanation = {
        "customer_id": "ann",
        "score_date": FIRST.date(),
        "model": "version 1",
        "horizon_days": PRIMARY,
        "churn_probability": None,
        "expected_purchases": None,
        "expected_spend": None,
        "reasons": [],
        "contributions": {},
        "history": [],
    }
    print_explanation(console, explanation)
    assert "not eligible now" in file.getvalue()
