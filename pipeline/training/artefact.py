"""A version's artefact as files: `recipe.json` (what the model is, what it knew, and the digest of every other file)
beside `artefact/` (what the model's own `save` wrote). Nothing is unpickled.

What the artefact says of itself counts, and not the tags of MLflow's registry: anyone who may write there can change a
tag, but not a file without changing its digest.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from models import MODELS, model_class
from models.base import Model
from pipeline.runtime.errors import RecurError

RECIPE = "recipe.json"
FACTS = ("recipe", "family", "trained_until", "question_digest", "parameters")
FORMAT = 1  # one without it was written by an earlier recur
RUN_ID = re.compile(r"[0-9a-f]{32}")
"""What MLflow names a run."""


def write_artefact(folder: Path, model: Model, facts: Mapping[str, str]) -> str:
    """Writes the artefact of the fitted `model` into `folder`, beside what MLflow is told of it; gives its digest, that
    of the recipe.
    """
    (folder / "artefact").mkdir()
    model.save(folder / "artefact")
    content = json.dumps({"format": FORMAT, **facts, "files": _digests(folder)}, indent=2)
    (folder / RECIPE).write_text(content, "utf-8")
    return digest_of(folder)


def digest_of(folder: Path) -> str:
    """The SHA-256 of the recipe in `folder`, which holds those of all other files; empty where there is none."""
    file = folder / RECIPE
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def read_facts(folder: Path, what: str) -> dict[str, Any]:
    """What the recipe in `folder` says. Raises RecurError, which names `what`, where it is none."""
    try:
        facts = json.loads((folder / RECIPE).read_text("utf-8"))
        if isinstance(written := facts.get("format", 0), int) and written > FORMAT:
            raise RecurError(
                f"{what} has the format {written}, of a later recur; this one reads {FORMAT}: update recur"
            )
        whole = all(isinstance(facts[name], str) for name in FACTS) and isinstance(facts.get("files", {}), dict)
        whole = whole and isinstance(json.loads(facts["parameters"]), dict)
        whole = whole and datetime.fromisoformat(facts["trained_until"]).tzinfo is not None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise RecurError(f"{what}: its {RECIPE} cannot be read: promote another version with `recur promote VERSION`")
    if facts["recipe"] not in MODELS:
        raise RecurError(f"{what}: there is no model {facts['recipe']!r}: promote another version")
    return dict(facts)


def faults(folder: Path) -> list[str]:
    """The files of `folder` that are not as the recipe says, by name; those of an earlier recur have no digests, and
    are not looked at.
    """
    expected = json.loads((folder / RECIPE).read_text("utf-8")).get("files")
    if expected is None:
        return []
    present = _digests(folder)
    return sorted(name for name in expected.keys() | present.keys() if expected.get(name) != present.get(name))


@lru_cache(maxsize=2)
def load_model(folder: Path, recipe_digest: str) -> Model:
    """The model in `folder`, kept in memory by this process for as long as its recipe is the same."""
    recipe = json.loads((folder / RECIPE).read_text("utf-8"))["recipe"]
    return model_class(recipe).load(folder / "artefact")


def _digests(folder: Path) -> dict[str, str]:
    """By name, the SHA-256 of every file below `folder` but the recipe."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / RECIPE)
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
