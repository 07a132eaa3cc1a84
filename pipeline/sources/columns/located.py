"""Where a mapped column stands in a file: under its name, under that name in other letters or with blanks around, by a
dotted path into a column that holds JSON, or in the path of the file itself, as in `day=2024-01-03/part.parquet`.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from pipeline.runtime.engine import literal, quoted

SHOWN = 40
_IN_PATH = r"(?:^|/)([^/=]+)=([^/]*)(?=/)"
"""A folder that names a column and its value, as partitioned data have them."""


class Nested(NamedTuple):
    """A value within a column of JSON texts: the column, and the JSON pointer to it."""

    column: str
    pointer: str

    def text(self, column: str) -> str:
        """An SQL expression: the value as text, null where there is none; `column` is the column's SQL identifier."""
        return f"json_extract_string({self._within(column)})"

    def exists(self, column: str) -> str:
        """An SQL predicate: whether there is such a value, which may be null."""
        return f"coalesce(json_exists({self._within(column)}), false)"

    def is_text(self, column: str) -> str:
        """An SQL predicate: whether the value is a text in JSON."""
        return f"coalesce(json_type({self._within(column)}) = 'VARCHAR', false)"

    def _within(self, column: str) -> str:
        """The arguments of a function of JSON: the text where it is JSON, and the pointer."""
        return f"case when json_valid({column}) then {column} end, {literal(self.pointer)}"


def position(name: str, columns: Sequence[str]) -> int | None:
    """Which of the file's columns is called `name`: just so, else the only one that is but for blanks around and the
    case of letters.
    """
    if name in columns:
        return columns.index(name)
    alike = [number for number, column in enumerate(columns) if _plain(column) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def nested(name: str, columns: Sequence[str]) -> Iterator[Nested]:
    """What `name` may be as a dotted path into one of `columns`, the longest name of a column first."""
    steps = name.split(".")
    for length in range(len(steps) - 1, 0, -1):
        number = position(".".join(steps[:length]), columns)
        if number is not None:
            yield Nested(columns[number], "".join(map(pointer, steps[length:])))


def paths_within(column: str, texts: Sequence[str]) -> dict[str, Nested]:
    """The dotted names of all values within the JSON `texts` of a column: of a list, those of its first element."""
    paths: dict[str, Nested] = {}
    for text in texts:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        paths |= {f"{column}{name}": Nested(column, at) for name, at in _leaves(value, "", "") if name}
    return paths


def in_path(address: str) -> dict[str, str]:
    """The columns that the folders of a file's address name, and their values."""
    return dict(re.findall(_IN_PATH, address))


def distinct(columns: Sequence[str]) -> list[str]:
    """Names for these columns that the engine keeps apart: it disregards case, and a CSV may have one name, or none,
    twice.
    """
    names: list[str] = []
    taken: set[str] = set()
    for number, column in enumerate(columns, 1):
        name = column or f"column {number}"
        while name.lower() in taken:
            name = f"{name} {number}"
        taken.add(name.lower())
        names.append(name)
    return names


def nearest(name: str, names: Sequence[str]) -> str:
    """In words: the one of `names` that is most like `name`, where one is, and what names there are."""
    lowered = {_plain(each): each for each in reversed(names)}
    close = get_close_matches(_plain(name), list(lowered), n=1, cutoff=0.7)
    close = close or [each for each in lowered if each.rpartition(".")[2] == _plain(name).rpartition(".")[2]][:1]
    words = f"{lowered[close[0]]!r} is nearest; " if close else ""
    return f"{words}it has {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """The first of these names, in words."""
    first = ", ".join(each if each.strip() == each and each else repr(each) for each in names[:SHOWN])
    return first + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def header_line(lines: Sequence[str], names: Sequence[str], split: Callable[[str], list[str]]) -> int | None:
    """The number of the line, from 1 on, whose columns have all these names; None where none has."""
    for number, line in enumerate(lines, 1):
        columns = split(line)
        if all(position(name, columns) is not None for name in names):
            return number
    return None


def pointer(key: str) -> str:
    """The JSON pointer to a key of an object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def alias(name: str) -> str:
    """The SQL identifier of a mapped column that is no column of its file."""
    return quoted(f"recur.{name}")


def _leaves(value: Any, name: str, at: str) -> Iterator[tuple[str, str]]:
    """The dotted names of the values within one of JSON, each with its pointer."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    if not inner:
        yield name, at
    for key, each in inner:
        yield from _leaves(each, f"{name}.{key}", at + pointer(str(key)))


def _plain(name: str) -> str:
    return name.strip().casefold()
