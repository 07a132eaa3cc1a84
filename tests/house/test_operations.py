"""Every entry of the runbook is played through by a test or a check that it names and that there is."""

import ast
import re

import pytest

from tests.house.source_tree import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
ENTRIES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_names_what_plays_it_through(entry: str) -> None:
    exercised = ENTRIES[entry].partition("Exercised by")[2]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", exercised)
    checks = re.findall(r"`make check NAME=([\w-]+)`", exercised)
    assert tests or checks
    missing = [f"{file}::{name}" for file, name in tests if name not in _functions(file)]
    missing += [name for name in checks if not list((ROOT / "tests" / "checks").glob(f"*/{name.replace('-', '_')}.py"))]
    assert not missing, "these are not there"


def test_what_the_runbook_must_hold_is_there() -> None:
    wanted = (
        "Refused night",
        "Corrupt object",
        "Lost champion",
        "Stuck lock",
        "Rollback",
        "Replay",
        "Restore",
        "Erasure",
    )
    assert [each for each in wanted if each not in ENTRIES] == []
    alerts = re.findall(r"^def (alert_\w+)", (ROOT / "dags" / "_shared.py").read_text("utf-8"), flags=re.MULTILINE)
    assert len(alerts) == len(re.findall("^### ", PAGE.split("## Alerts")[1].split("\n## ")[0], flags=re.MULTILINE))


def _functions(file: str) -> set[str]:
    path = ROOT / file
    body = ast.parse(path.read_text("utf-8")).body if path.exists() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}
