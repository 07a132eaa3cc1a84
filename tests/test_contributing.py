"""The worked examples of CONTRIBUTING.md: each section's files and changes are made in a copy of the project, and its
commands run there.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.plain_reading import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SECTIONS = dict(section.split("\n", 1) for section in TEXT.split("\n## ")[1:])
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
COPIED = ("benchmarks", "dags", "docker", "docs", "features", "models", "pipeline", "tests")
FILES = ("CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "recur.toml")
IN_TURN = """
import runpy, shlex, sys
for command in {}:
    python, option, module, *arguments = shlex.split(command)
    assert (python, option) == (".venv/bin/python", "-m"), command
    print(command, flush=True)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, without its environment and its state."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures", "*.png"))
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_model_a_source_a_feature_and_a_view_are_shown() -> None:
    assert set(SECTIONS) == {"A model", "A source", "A feature", "A view"}


def test_their_steps_work(project: Path) -> None:
    """All in one copy and, but for ruff, in one process, which imports but once; what several ask for comes last."""
    commands: list[str] = []
    for title, section in SECTIONS.items():
        own: list[str] = []
        for kind, name, content in BLOCK.findall(section):
            if kind == "sh":
                own += content.splitlines()
            elif kind == "diff":
                change(project / name, content)
            else:
                assert not (project / name).exists(), f"{name} is there already"
                (project / name).write_text(content, "utf-8")
        assert own, f"{title} has no commands"
        commands = [command for command in commands if command not in own] + own
    for command in ("-m ruff check .", "-m ruff format --check .", f"-c {shlex.quote(IN_TURN.format(commands))}"):
        run(command, project)


def change(file: Path, diff: str) -> None:
    """Puts the lines with `+` after the lines without, as they stand together in the file, once."""
    before = "".join(f"{line[1:]}\n" for line in diff.splitlines() if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in diff.splitlines() if not line.startswith("-"))
    text = file.read_text("utf-8")
    assert text.count(before) == 1, f"{file.name} does not hold, once:\n{before}"
    file.write_text(text.replace(before, after), "utf-8")


def run(arguments: str, project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *shlex.split(arguments)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize("target", ["lint", "quick"])
def test_the_hook_refuses_a_commit_where_something_fails(target: str, tmp_path: Path) -> None:
    """As the page sets it up, in a repository whose Makefile has but these two targets."""
    [hook] = re.findall(r"^```sh hook\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    other = {"lint": "quick", "quick": "lint"}[target]
    (tmp_path / "Makefile").write_text(f"{target}:\n\t@test -f passes\n{other}:\n\t@true\n")
    commit = "git -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message new"
    subprocess.run(f"git init --quiet . && {hook}", shell=True, cwd=tmp_path, check=True)
    assert subprocess.run(commit, shell=True, cwd=tmp_path, check=False, capture_output=True).returncode != 0
    (tmp_path / "passes").touch()
    subprocess.run(commit, shell=True, cwd=tmp_path, check=True)


def test_the_hooks_of_pre_commit_are_targets_and_fetch_nothing() -> None:
    import yaml

    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].removeprefix("make ") in targets
