"""Imports point one way, make no circles, and stand at the top of their module."""

from collections import deque
from functools import cache

import pytest

from tests.house.source_tree import PACKAGES, Import, file_of, imports, module_name, python_files, shown

ROOMS = (
    "cli",
    "steps",
    "monitoring",
    "scoring",
    "training",
    "serving",
    "validation",
    "datasets",
    "event_store",
    "sources",
    "config",
    "runtime",
)
"""The rooms of `pipeline/`, each of which may import those after it."""
OUTSIDE = ("tests", "benchmarks", "docs", "docker")
HEAVY_LIBRARIES = {
    "airflow",
    "great_expectations",
    "keras",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "optuna",
    "pyspark",
    "rich",
    "sklearn",
    "tensorflow",
}
HEAVY_MODULES = {
    "models.evaluation.plots": "matplotlib: only the training draws",
    "models.explanation.integrated_gradients": "TensorFlow: only networks are explained by their gradients",
    "models.networks.compiled": "TensorFlow: a network is described and saved without it",
    "models.networks.heads": "Keras: the conventional models do without it",
    "models.networks.training": "TensorFlow: a network is described, saved and asked for its views without it",
    "models.recurrent.network": "TensorFlow: only when a network is built",
    "models.recurrent.packed": "TensorFlow: what a cell is called and has for parameters is known without it",
    "models.recurrent.stepping": "TensorFlow: a champion that reads aggregates carries no state of a network",
    "models.tuning": "Optuna: by default nothing is tuned",
    "pipeline.datasets.spark_engine": "pyspark: an extra, which need not be installed",
}
"""The modules that may be imported within a function: each loads a library that takes seconds, or may be absent."""
FAST_PATHS = {
    "dags._shared": "the scheduler parses it every few seconds",
    "dags.nightly_predictions": "the scheduler parses it every few seconds",
    "dags.train_and_compare": "the scheduler parses it every few seconds",
    "pipeline.cli.app": "`recur --help` and `recur query` answer at once",
    "pipeline.cli.quarantine_commands": "a part of pipeline.cli.app",
    "pipeline.cli.session": "a part of pipeline.cli.app",
    "pipeline.cli.upkeep.commands": "a part of pipeline.cli.app",
}
"""The modules that may import anything of the project's within a function: they are loaded where time counts."""


def all_imports() -> list[Import]:
    """Every import of the project's own modules that is more than a type checker's."""
    return [
        each
        for file in python_files()
        for each in imports(file)
        if _is_the_projects(each.module) and not each.for_types
    ]


def _is_the_projects(module: str) -> bool:
    return module.split(".")[0] in (*PACKAGES, *OUTSIDE) and file_of(module) is not None


def test_packages_import_one_way() -> None:
    order = (*PACKAGES, None)
    wrong = []
    for each in all_imports():
        here, there = each.file.parts[0], each.module.split(".")[0]
        if there not in order[order.index(here) :]:
            wrong.append(f"{each}: {here} may import only {' and '.join(PACKAGES[PACKAGES.index(here) :])}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_features_import_nothing_else_of_the_projects() -> None:
    wrong = [str(each) for each in all_imports() if each.file.parts[0] == "features" and each.module[:8] != "features"]
    assert not wrong, "\n" + "\n".join(wrong)


def test_rooms_import_one_way() -> None:
    wrong = []
    for each in all_imports():
        here, there = _room(module_name(each.file)), _room(each.module)
        if here and there and ROOMS.index(there) < ROOMS.index(here):
            wrong.append(f"{each}: {there} comes before {here} in {' → '.join(ROOMS)}")
    assert not wrong, f"{len(wrong)} imports against the order\n" + "\n".join(wrong)


def test_every_room_is_in_the_order() -> None:
    rooms = {file.parts[1] for file in python_files(["pipeline"]) if len(file.parts) > 2}
    assert rooms == set(ROOMS)


def _room(module: str) -> str | None:
    package, *inner = module.split(".")
    return inner[0] if package == "pipeline" and inner else None


def test_there_are_no_circles() -> None:
    circles = [_as_text(circle) for circle in _circles()]
    assert not circles, f"{len(circles)} circles\n" + "\n".join(circles)


@cache
def _imported_by() -> dict[str, dict[str, Import]]:
    """By module: what it imports of the project's, each with the first such import."""
    edges: dict[str, dict[str, Import]] = {module_name(file): {} for file in python_files()}
    for each in all_imports():
        here = module_name(each.file)
        if each.module != here:
            edges[here].setdefault(each.module, each)
    return edges


def _circles() -> list[list[Import]]:
    """For every import that can be closed to a circle, the shortest such circle; each circle once."""
    circles: dict[frozenset[str], list[Import]] = {}
    for here, targets in _imported_by().items():
        for there, first in targets.items():
            if way := _shortest_way(there, here):
                circle = [first, *way]
                circles.setdefault(frozenset(module_name(each.file) for each in circle), circle)
    return list(circles.values())


def _shortest_way(start: str, end: str) -> list[Import] | None:
    """The imports that lead from one module to another; None where none do."""
    ways: dict[str, list[Import]] = {start: []}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for there, each in _imported_by().get(here, {}).items():
            if there == end:
                return [*ways[here], each]
            if there not in ways:
                ways[there] = [*ways[here], each]
                waiting.append(there)
    return None


def _as_text(circle: list[Import]) -> str:
    files = [str(each.file) for each in circle]
    return f"{files[0]} and {shown(circle[0].module)} import each other: " + "; ".join(map(str, circle))


def test_imports_within_functions_are_of_heavy_modules() -> None:
    wrong = [
        f"{each}, within {each.function}"
        for each in all_imports()
        if each.function and each.module not in HEAVY_MODULES and module_name(each.file) not in FAST_PATHS
    ]
    assert not wrong, f"{len(wrong)} imports to move to the top of their module\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", HEAVY_MODULES)
def test_a_heavy_module_is_heavy_and_imported_within_a_function(module: str) -> None:
    assert _libraries(module, set()) & HEAVY_LIBRARIES, f"{module} loads no heavy library: import it at the top"
    assert any(each.module == module and each.function for each in all_imports()), f"{module} need not be listed"


@pytest.mark.parametrize("module", FAST_PATHS)
def test_a_fast_path_loads_nothing_heavy(module: str) -> None:
    heavy = _libraries(module, set()) & HEAVY_LIBRARIES
    assert heavy <= ({"airflow"} if module.startswith("dags.") else set())


def _libraries(module: str, seen: set[str]) -> set[str]:
    """The libraries that are loaded with a module of the project: those that it imports at its top, and so on."""
    seen.add(module)
    file, loaded = file_of(module), set()
    for each in imports(file) if file else ():
        if each.function or each.for_types:
            continue
        if not _is_the_projects(each.module):
            loaded.add(each.module.split(".")[0])
        elif each.module not in seen:
            loaded |= _libraries(each.module, seen)
    return loaded
