"""The project's own Python files as these tests read them: their imports and their functions, without running any."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("dags", "pipeline", "models", "features")
"""The packages that are installed, each of which may import those after it."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One module that a file imports: of the project's where there is such a file, else the whole dotted name."""

    file: Path
    line: int
    module: str
    names: tuple[str, ...]
    function: str | None
    """The function that the import stands in; None at the top of a module."""
    for_types: bool
    """Whether it stands under `if TYPE_CHECKING`, where only a type checker reads it."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {', '.join(self.names) or 'the module'} from {shown(self.module)}"


@dataclass(frozen=True)
class Signature:
    """One function or method, by the name that its file knows it by: `Class.method`."""

    file: Path
    name: str
    node: Function
    method: bool

    @property
    def parameters(self) -> list[ast.arg]:
        """Its parameters, keyword-only ones included; `self`, `cls`, `*args` and `**kwargs` not."""
        of = self.node.args
        positional = [*of.posonlyargs, *of.args]
        static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in self.node.decorator_list)
        receiver = 1 if self.method and not static else 0
        return [*positional[receiver:], *of.kwonlyargs]

    def __str__(self) -> str:
        return f"{self.file}:{self.node.lineno} {self.name}"


def python_files(folders: Iterable[str] = PACKAGES) -> list[Path]:
    """The Python files below these folders of the project, relative to its root."""
    return sorted(file.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text("utf-8"))


def module_name(file: Path) -> str:
    """`pipeline/steps/score.py` as `pipeline.steps.score`; a package's `__init__.py` as the package."""
    names = file.with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def file_of(module: str) -> Path | None:
    """The project's file that holds this module; None for one that is not the project's."""
    folder = Path(*module.split("."))
    return next((file for file in (folder.with_suffix(".py"), folder / "__init__.py") if (ROOT / file).exists()), None)


def shown(module: str) -> str:
    return str(file_of(module) or module)


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """Every import of a file, wherever in it. `from pipeline.cli import output` is of `pipeline.cli.output`."""
    return tuple(_imports(file, parsed(file), None, False))


def _imports(file: Path, node: ast.AST, function: str | None, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, child.lineno, alias.name, (), function, for_types)
        elif isinstance(child, ast.ImportFrom):
            for module, names in _modules(file, child).items():
                yield Import(file, child.lineno, module, names, function, for_types)
        else:
            inner = child.name if isinstance(child, Function) else function
            typing = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            yield from _imports(file, child, inner, typing)


def _modules(file: Path, node: ast.ImportFrom) -> dict[str, tuple[str, ...]]:
    """What one `from … import` takes of each module: a name that is a module of the project stands by itself."""
    base = node.module or ""
    if node.level:
        package = module_name(file) if file.name == "__init__.py" else module_name(file.parent / "__init__.py")
        base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *base.split(".")]).rstrip(".")
    taken: dict[str, tuple[str, ...]] = {}
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        module, names = (inner, ()) if file_of(inner) else (base, (alias.name,))
        taken[module] = (*taken.get(module, ()), *names)
    return taken


@cache
def signatures(file: Path) -> tuple[Signature, ...]:
    """Every function and method of a file, nested ones too."""
    return tuple(_signatures(file, parsed(file), "", False))


def _signatures(file: Path, node: ast.AST, prefix: str, in_class: bool) -> Iterator[Signature]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield Signature(file, prefix + child.name, child, in_class)
            yield from _signatures(file, child, f"{prefix}{child.name}.", False)
        elif isinstance(child, ast.ClassDef):
            yield from _signatures(file, child, f"{prefix}{child.name}.", True)
        else:
            yield from _signatures(file, child, prefix, in_class)
