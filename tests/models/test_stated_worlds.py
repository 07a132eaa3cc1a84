"""From a world to the statements: one tiny repeat, by the product's path; what is false; and the ledger."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from docs.generate import without_time
from models.evaluation.statements.verdict import Confrontation
from tests.checks.evidence import null_worlds
from tests.support.ledger import Ledger
from tests.support.worlds.null_worlds import NULL_WORLDS, Size, null_snapshot
from tests.support.worlds.stated import Plan, Truth, stated

NETWORK = {"max_epochs": 1, "units": 4, "head_units": 4}


@pytest.fixture(scope="module")
def tiny():
    snapshot = null_snapshot("bg-nbd", Size(80, 392, 28), 3)
    plan = Plan({"logistic_regression": {}, "random_forest": {}, "lightgbm": {"max_rounds": 20}, "gru": NETWORK}, 2)
    statements = stated(snapshot, plan, 1)
    return statements, Truth(statements, NULL_WORLDS["bg-nbd"].truth(snapshot.parts(0).test)), snapshot


def test_a_repeat_goes_the_way_of_the_product(tiny):
    statements, truth, snapshot = tiny
    results = {result.name: result for result in statements.results}
    assert list(results)[4:] == ["conventional_pool", "recurrent_pool", "twin_pool"]
    assert results["recurrent_pool"].member == results["twin_pool"].member == "gru"
    assert statements.test.seeds == 2
    examples = len(snapshot.parts(0).test)
    first, second = np.split(results["gru"].test_probability, 2)
    assert len(first) == examples
    assert not np.array_equal(first, second)
    assert np.array_equal(*np.split(results["logistic_regression"].test_probability, 2))
    assert not np.array_equal(results["recurrent_pool"].test_probability, results["twin_pool"].test_probability)
    assert statements.contribution.best_ranked == "gru"
    record = truth.to_json()
    assert json.loads(json.dumps(record)) == record


def test_the_expected_loss_is_least_for_the_truth(tiny):
    statements, truth, snapshot = tiny
    probability = NULL_WORLDS["bg-nbd"].truth(snapshot.parts(0).test)
    oracle = replace(statements.results[0], test_probability=np.tile(probability, 2))
    best = Truth(replace(statements, results=(oracle,)), probability).loss["logistic_regression"]
    assert all(best < loss for loss in truth.loss.values())


def decided(verdict, contribution, losses):
    """A truth of made-up losses with these decisions."""
    against = Confrontation("gru", "lightgbm", None, {"lightgbm": None, "twin_pool": None})
    mirror = Confrontation("gru", "lightgbm", None, {"gru": None, "recurrent_pool": None})
    pools = {"without_member": "conventional_pool", "with_member": "recurrent_pool", "twin_name": "twin_pool"}
    truth = object.__new__(Truth)
    truth.statements = SimpleNamespace(
        verdict=SimpleNamespace(decision=verdict, against=against, mirror=mirror),
        contribution=SimpleNamespace(decision=contribution, **pools),
    )
    names = ("gru", "lightgbm", "twin_pool", "conventional_pool", "recurrent_pool")
    truth.loss = dict(zip(names, losses, strict=True))
    return truth.false()


@pytest.mark.parametrize(
    ("decisions", "losses", "false"),
    [
        (("recurrent", "adds"), (0.3, 0.4, 0.4, 0.5, 0.35), []),
        (("recurrent", "adds"), (0.3, 0.4, 0.29, 0.5, 0.28), ["recurrent"]),  # one opponent is ahead
        (("recurrent", "adds"), (0.3, 0.4, 0.34, 0.5, 0.35), ["adds"]),  # the twin adds more
        (("recurrent", "adds"), (0.3, 0.4, 0.4, 0.33, 0.35), ["adds"]),
        (("conventional", "harms"), (0.5, 0.4, 0.4, 0.3, 0.45), []),
        (("conventional", "harms"), (0.5, 0.4, 0.4, 0.3, 0.4), ["conventional"]),
        (("conventional", "harms"), (0.5, 0.4, 0.4, 0.5, 0.45), ["harms"]),
        (("no detectable difference", "no detectable contribution"), (0.3, 0.4, 0.4, 0.5, 0.35), []),
        (("equivalent", "no detectable contribution"), (0.3, 0.4, 0.4, 0.5, 0.35), []),
    ],
)
def test_a_decision_is_false_where_the_truth_has_not_its_sign(decisions, losses, false):
    assert decided(*decisions, losses) == false


def test_a_ledger_goes_on_after_a_half_written_line(tmp_path):
    ledger = Ledger(tmp_path / "folder" / "ledger.jsonl", ("world", "repeat"))
    ledger.add({"world": "b", "repeat": 1, "value": 1})
    with ledger.file.open("a") as file:
        file.write('{"world": "b", "rep')
    ledger.add({"world": "a", "repeat": 2, "value": 2})
    ledger.add({"world": "b", "repeat": 1, "value": 3})
    assert list(ledger.read()) == [("a", 2), ("b", 1)]
    assert [record["value"] for record in ledger.read().values()] == [2, 3]


def test_repeats_that_are_there_are_not_run_again_but_counted(tmp_path, capsys):
    book = Ledger(tmp_path / "null_worlds.jsonl", null_worlds.KEY)
    book.add({"world": "bg-nbd", "size": "reduced", "repeat": null_worlds.TUNED, "lightgbm": {"leaves": 7}})
    for repeat in range(4):
        key = {"world": "bg-nbd", "size": "reduced", "repeat": repeat}
        book.add(key | {"verdict": "recurrent", "contribution": "adds", "false": ["adds"], "member": "gru"})
    before = book.file.read_bytes()
    assert null_worlds.main(["bg-nbd"], repeats=(0, 2), ledger=tmp_path)
    assert not null_worlds.main(["bg-nbd"], repeats=(1, 4), ledger=tmp_path, write=tmp_path / "published.json")
    assert book.file.read_bytes() == before
    assert "of 3 repeats false: recurrent 0, conventional 0, adds 3, harms 0" in capsys.readouterr().out
    content = json.loads((tmp_path / "published.json").read_text())["reduced"]["bg-nbd"]
    assert (content["repeats"], content["member_chosen"], content["false"]["adds"]) == (4, 4, 4)
    assert content["lightgbm"] == {"leaves": 7}
    assert "| bg nbd, reduced size | 4 | 4 | 4 (0 false) | 0 (0 false) | 4 (4 false) | 0 (0 false) |" in list(
        without_time({"reduced": {"bg-nbd": content}})
    )
