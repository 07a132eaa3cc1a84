"""Folders, files and parameter lists stay small enough to take in at a glance."""

import ast
import re
from collections import Counter
from pathlib import Path

from tests.conftest import SLOW, TESTS
from tests.house.source_tree import PACKAGES, ROOT, Signature, parsed, python_files, signatures

EVERYWHERE = (*PACKAGES, "tests", "benchmarks", "docs", "docker")
FILES_IN_A_FOLDER, FILES_DIRECTLY_IN_PIPELINE, LINES_IN_A_FILE = 15, 4, 350
PARAMETERS, FUNCTIONS_WITH_MORE, FUNCTIONS_WITH_SETTINGS = 5, 10, 60
LONG_SIGNATURES = {
    "features/aggregates/sums.py _by_role": "columns of the same events, which its only caller has worked out already",
}
"""The functions that take more than five parameters, as `file name`, each with its reason."""


def test_no_folder_holds_many_files() -> None:
    folders = Counter(file.parent for file in python_files(EVERYWHERE))
    crowded = [f"{folder}: {count} Python files" for folder, count in folders.items() if count > FILES_IN_A_FOLDER]
    assert not crowded, "\n" + "\n".join(crowded)
    assert folders[Path("pipeline")] <= FILES_DIRECTLY_IN_PIPELINE


def test_no_file_is_long() -> None:
    lines = {file: len((ROOT / file).read_text("utf-8").splitlines()) for file in python_files(EVERYWHERE)}
    long = [f"{file}: {count} lines" for file, count in lines.items() if count > LINES_IN_A_FILE]
    assert not long, "\n" + "\n".join(long)


def test_few_functions_take_many_parameters() -> None:
    every = [each for file in python_files() for each in signatures(file)]
    many = {f"{each.file} {each.name}": each for each in every if len(each.parameters) > PARAMETERS}
    unexplained = [f"{each}: {len(each.parameters)}" for key, each in many.items() if key not in LONG_SIGNATURES]
    assert not unexplained, f"{len(unexplained)} functions to split, or to give one value\n" + "\n".join(unexplained)
    assert set(LONG_SIGNATURES) == set(many), "the list names functions that have become short"
    assert len(LONG_SIGNATURES) <= FUNCTIONS_WITH_MORE


def test_few_functions_are_handed_all_settings() -> None:
    handed = [str(each) for file in python_files(["pipeline"]) for each in signatures(file) if _takes_settings(each)]
    handed += [
        f"{file}:{node.lineno} {node.name}"
        for file in python_files(["pipeline"])
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ClassDef) and _is_dataclass_of_settings(node)
    ]
    assert len(handed) <= FUNCTIONS_WITH_SETTINGS, f"{len(handed)} functions take all settings\n" + "\n".join(handed)


def _takes_settings(signature: Signature) -> bool:
    return any(_is_settings(parameter.annotation) for parameter in signature.parameters)


def _is_dataclass_of_settings(node: ast.ClassDef) -> bool:
    """Whether its constructor, which no line writes out, takes all settings."""
    return any("dataclass" in ast.unparse(each) for each in node.decorator_list) and any(
        isinstance(field, ast.AnnAssign) and _is_settings(field.annotation) for field in node.body
    )


def _is_settings(annotation: ast.expr | None) -> bool:
    """Whether an annotation is, or holds, `Settings`: bare, of a module, as text, in an optional or a container."""
    return annotation is not None and re.search(r"\bSettings\b", ast.unparse(annotation)) is not None


def test_what_is_named_slow_is_there() -> None:
    assert [name for name in SLOW if not (TESTS / name).exists()] == []
