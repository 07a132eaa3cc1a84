"""Set-up on machines that lack something: one line that names it and the fix, and nothing made."""

import ast
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime import airflow

SCRIPT = airflow.PROJECT / "pipeline" / "runtime" / "bootstrap.py"


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch):
    import importlib.util

    specification = importlib.util.spec_from_file_location("recur_bootstrap", SCRIPT)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # the module takes its own folder, the first, away
    specification.loader.exec_module(module)
    return module


def fake_python(folder: Path, name: str, version: str, complete: bool = True) -> str:
    """A program that answers as a Python of `version` does, with or without the modules that set-up needs."""
    path = folder / name
    probe = f"echo {version}" if complete else "exit 1"
    path.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) {probe};; *) echo {version};; esac\n')
    path.chmod(0o755)
    return str(path)


def test_an_old_python_can_read_it() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr)]


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.14"])
def test_a_python_too_old_or_too_new_is_named(bootstrap, tmp_path: Path, monkeypatch, version: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = fake_python(tmp_path, "python3", version)
    with pytest.raises(bootstrap.SetupError, match=rf"Python {version} cannot be used: .* 3\.11, 3\.12 or 3\.13"):
        bootstrap.find_python(own)


def test_a_fitting_python_elsewhere_on_path_is_used(bootstrap, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = fake_python(tmp_path, "python3", "3.10")
    fake_python(tmp_path, "python3.12", "3.12")
    assert bootstrap.find_python(own) == "python3.12"


def test_a_missing_venv_module_is_named(bootstrap, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = fake_python(tmp_path, "python3", "3.12", complete=False)
    with pytest.raises(bootstrap.SetupError, match=r"no venv module: .* apt install python3\.12-venv"):
        bootstrap.find_python(own)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has libomp instead")
def test_a_missing_libgomp_is_named(bootstrap, monkeypatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(bootstrap.SetupError, match=r"libgomp is missing, .* apt install libgomp1"):
        bootstrap.require_libgomp()


def test_an_unfit_python_ends_with_one_line_and_status_one(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "pipeline" / "runtime").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml"):
        (project / name).write_text("")
    copy = project / "pipeline" / "runtime" / "bootstrap.py"
    # This Python made unfit: the newest that the copy accepts is older than any.
    copy.write_text(SCRIPT.read_text().replace("OLDEST, NEWEST = (3, 11), (3, 13)", "OLDEST, NEWEST = (3, 1), (3, 2)"))
    done = subprocess.run(
        [sys.executable, str(copy)], env={"PATH": os.defpath}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("setup: Python 3.")
    assert not (project / ".venv").exists()


def test_a_finished_setup_is_left_alone_until_the_lock_changes(bootstrap, tmp_path: Path, monkeypatch) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    for name, value in {"PROJECT": tmp_path, "VENV": tmp_path / ".venv", "LOCK": lock}.items():
        monkeypatch.setattr(bootstrap, name, str(value))
    monkeypatch.setattr(bootstrap, "STAMP", str(tmp_path / ".venv" / "recur-setup"))
    monkeypatch.setattr(bootstrap, "find_python", lambda: pytest.fail("set-up began"))
    (tmp_path / ".venv" / "recur-setup").write_text(bootstrap._wanted())
    assert bootstrap.main() == 0
    lock.write_text("a==2\n")
    with pytest.raises(pytest.fail.Exception, match="set-up began"):
        bootstrap.main()
