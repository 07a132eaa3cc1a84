"""Names that stand as text, which no import checks, lead to what is there."""

import ast
import tomllib

from tests.house.source_tree import PACKAGES, ROOT, file_of, parsed

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_models_class_is_where_its_name_says() -> None:
    from models import MODELS

    for name, place in MODELS.items():
        module, _, attribute = place.partition(":")
        file = file_of(module)
        assert file, f"{name}: there is no module {module}"
        classes = [node.name for node in parsed(file).body if isinstance(node, ast.ClassDef)]
        assert attribute in classes, f"{name}: {file} has no class {attribute}"


def test_the_command_and_what_the_tools_are_told_of_exist() -> None:
    modules = [script.partition(":")[0] for script in PYPROJECT["project"]["scripts"].values()]
    tools = PYPROJECT["tool"]
    overrides = [module for override in tools["mypy"]["overrides"] for module in override["module"]]
    modules += [module for module in overrides if module.split(".")[0] in PACKAGES]
    assert [module for module in modules if file_of(module) is None] == []
    patterns = tools["ruff"]["lint"]["per-file-ignores"]
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []


def test_the_files_that_are_installed_beside_modules_exist() -> None:
    for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        assert [pattern for pattern in patterns if not list(folder.glob(pattern))] == [], package


def test_tests_mirror_the_packages() -> None:
    folders = [folder for package in PACKAGES for folder in (ROOT / "tests" / package).rglob("__init__.py")]
    mirrored = [folder.parent.relative_to(ROOT / "tests") for folder in folders]
    assert [str(folder) for folder in mirrored if not (ROOT / folder).is_dir()] == []
