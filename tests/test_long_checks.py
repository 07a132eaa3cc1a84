"""The long checks and the benchmarks run too seldom to tell that a name they import is gone: this tells, without
importing them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "tests" / "checks").glob("**/*.py"), *(ROOT / "benchmarks").glob("**/*.py")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_it_imports_of_this_project_is_there(file: Path) -> None:
    missing = [
        f"{module}.{name}"
        for module, name in _imported(file)
        if (ROOT / module.split(".")[0]).is_dir() and not _has(module, name)
    ]
    assert not missing


def _imported(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def _has(module: str, name: str) -> bool:
    folder = ROOT.joinpath(*module.split("."))
    if any(path.exists() for path in (folder / f"{name}.py", folder / name / "__init__.py")):
        return True
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return source.exists() and name in set(_defined(ast.parse(source.read_text("utf-8")).body))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """The names that the statements of a module give it, inside its conditions too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.If | ast.Try):
            yield from _defined(node.body)
        else:
            yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
