"""Five quick draws of `make check NAME=any-source`: no traceback, no row lost, nothing made up."""

from pathlib import Path

import pytest

from tests.support.worlds.any_source import Draw, empty_mlflow, work

pytestmark = pytest.mark.slow
EXPLAINED = "a customer explained"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.mark.parametrize(
    ("seed", "reached"),
    [
        pytest.param(10, EXPLAINED, id="amounts that are all null"),
        pytest.param(0, None, id="one event each"),
        pytest.param(291, None, id="one customer of twenty days"),
        pytest.param(21, "the question", id="all at one instant"),
        pytest.param(17, "the nights", id="an end that never occurs"),
    ],
)
def test_the_whole_chain(seed: int, reached: str | None, tmp_path: Path, mlflow: Path) -> None:
    draw = Draw.of(seed, networks=False)
    outcome = work(draw, tmp_path, mlflow)
    assert not outcome.faults, draw
    assert outcome.refused or outcome.reached == EXPLAINED
    assert reached is None or outcome.reached == reached, outcome.refused
