"""Small files of JSON that bear a format version and their own digest, so that a damaged one is noticed, and one that a
later recur wrote is refused. What an earlier recur wrote bears neither, and counts as format 0.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import atomically

FORMAT, DIGEST = "format", "sha256"


class DamagedError(RecurError):
    """A file is not what was written."""


def write_sealed(file: Path, content: Mapping[str, Any], version: int, indent: int | None = None) -> None:
    """Writes `content`, whose keys are neither `format` nor `sha256`, atomically."""
    numbered = {FORMAT: version, **content}
    with atomically(file) as temporary:
        temporary.write_text(json.dumps({DIGEST: _digest(numbered), **numbered}, indent=indent), "utf-8")


def read_sealed(file: Path, version: int) -> dict[str, Any]:
    """What `write_sealed` wrote, with its `format`. Raises DamagedError where it is damaged, FileNotFoundError where it
    is missing, and RecurError where its format is later than `version`.
    """
    try:
        content = json.loads(file.read_bytes())
        if FORMAT not in content and DIGEST not in content:
            return {FORMAT: 0, **content}
        claimed, written = content.pop(DIGEST), content[FORMAT]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{file} is damaged: it does not hold what was written") from None
    if _digest(content) != claimed:
        raise DamagedError(f"{file} is damaged: it does not hold what was written")
    if written > version:
        raise RecurError(f"{file} has the format {written}, of a later recur; this one reads {version}: update recur")
    return dict(content)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
