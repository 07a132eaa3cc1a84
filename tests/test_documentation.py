"""The documentation is held to the code: what is generated is up to date, and README speaks of what there is."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from docs.generate import BY_HAND, README, reference, with_results
from models import MODELS
from pipeline.config.settings import Settings, load_settings
from pipeline.serving.views import VIEWS
from tests.support.plain_reading import ROOT

TEXT = README.read_text("utf-8")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/question.md",
    "docs/online_retail.md",
    "docs/operations.md",
    "docs/security.md",
)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_reference_is_what_make_docs_writes() -> None:
    assert (ROOT / "docs" / "reference.md").read_text("utf-8") == reference(), "run `make docs`"


def test_readmes_table_is_what_make_docs_writes() -> None:
    assert with_results(TEXT) == TEXT, "run `make docs`"


def test_every_trial_by_hand_is_of_the_log_and_counted_in_readme() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "LOG.md").read_text("utf-8"), flags=re.MULTILINE)
    trials = json.loads(BY_HAND.read_text("utf-8"))
    variants, on_a_test = Counter[str](), Counter[str]()
    for trial in trials:
        assert f"{trial['date']}: {trial['entry']}" in headings
        assert trial["model"] in (*MODELS, "all models")
        assert set(trial["sets"]) <= {"complete_journey", "cdnow", "online_retail", "git_commits"}
        assert set(trial["judged_on"]) <= {"validation", "calibration", "test"}
        variants[trial["model"]] += trial["variants"]
        on_a_test[trial["model"]] += trial["variants"] * trial["judged_on"].count("test")
    table = TEXT.split("| model | variants tried by hand |")[1].split("\n\n")[0]
    counted = re.findall(r"^\| ([\w ]+) \| (?:at least )?(\d+) \| (?:at least )?(\d+) \|$", table, flags=re.MULTILINE)
    assert {model: (int(each), int(tested)) for model, each, tested in counted} == {
        model: (variants[model], on_a_test[model]) for model in (*MODELS, "all models")
    }


def test_every_setting_has_words_of_its_own() -> None:
    for section, entry in Settings.model_fields.items():
        if section not in ("root", "file"):
            assert entry.annotation is not None
            for key, field in entry.annotation.model_fields.items():
                assert field.description, f"[{section}] {key}"


def test_readmes_configurations_are_read(tmp_path: Path) -> None:
    blocks = [text for kind, text in BLOCKS if kind == "toml"]
    assert len(blocks) >= 2
    for text in blocks:
        (tmp_path / "recur.toml").write_text(text)
        load_settings(tmp_path / "recur.toml")
    assert tomllib.loads(blocks[0]) == tomllib.loads((ROOT / "recur.toml").read_text("utf-8"))


def test_every_command_and_target_that_readme_names_exists() -> None:
    targets = set(re.findall(r"make ([a-z]+)", TEXT))
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert targets - {"it"} <= known
    commands = set(re.findall(r"recur (?:--config \S+ )?([a-z]+)\b", " ".join(re.findall(r"`([^`]+)`", TEXT))))
    help_text = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.app", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert commands
    assert all(re.search(rf"^\W*{command}\b", help_text, flags=re.MULTILINE) for command in commands)


@pytest.mark.parametrize("name", re.findall(r"from (\w+)", TEXT.split("## Where to look")[1]))
def test_the_views_in_readmes_queries_exist(name: str) -> None:
    assert name in VIEWS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:dags|pipeline|models|features|tests|docs)/[\w./-]*)`", (ROOT / page).read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_architecture_knows_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = [folder.name for folder in (ROOT / "pipeline").iterdir() if (folder / "__init__.py").exists()]
    assert [room for room in rooms if f"| `pipeline/{room}/` |" not in text] == []
